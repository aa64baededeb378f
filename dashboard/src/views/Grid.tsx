// All cameras, those that break their promise first.

import { history, now, view } from "../live/store";
import { LABELS, standing, STANDINGS } from "../live/standing";
import { words } from "../live/masks";
import { useMemo } from "preact/hooks";
import { Card } from "./Card";

export function Grid() {
  const held = view.value!;
  const colours = useMemo(() => words(held.colours), [held.bundle]);
  const variants = useMemo(() => held.ladder.map((rung) => rung.variant), [held.bundle]);
  const cameras = held.cameras.map((camera) => ({
    camera,
    is: standing(camera, held, history(camera.id).peek().results.at(-1)?.at ?? null, now.value),
  }));
  cameras.sort(
    (a, b) => STANDINGS.indexOf(a.is) - STANDINGS.indexOf(b.is) || a.camera.name.localeCompare(b.camera.name),
  );
  const counts = STANDINGS.map((is) => ({ is, count: cameras.filter((one) => one.is === is).length }));
  return (
    <main id="main">
      <h1 class="unseen">Cameras</h1>
      <ul class="counts" aria-label="Cameras by standing">
        {counts
          .filter(({ count }) => count)
          .map(({ is, count }) => (
            <li key={is} class={is}>
              <strong>{count}</strong> {LABELS[is]}
            </li>
          ))}
      </ul>
      <ul class="alerts" aria-label="Open alerts" aria-live="polite">
        {held.alerts.map((alert) => (
          <li key={alert.id}>
            <strong>{alert.name ?? "All cameras"}</strong> {alert.detail}
          </li>
        ))}
      </ul>
      <div class="grid">
        {cameras.map(({ camera, is }) => (
          <Card
            key={camera.id}
            camera={camera}
            view={held}
            standing={is}
            colours={colours}
            variants={variants}
            now={now.value}
          />
        ))}
      </div>
    </main>
  );
}
