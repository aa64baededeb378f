// One camera: what it sees, its last minutes, what is certified of it, and its target, which can be changed here.

import { useEffect, useMemo, useState } from "preact/hooks";

import { words } from "../live/masks";
import { Refused, setTarget } from "../live/server";
import { LABELS, standing } from "../live/standing";
import { history, now, refresh, view } from "../live/store";
import { Chart } from "./Chart";
import { accuracy, bound, configuration, percent, saved } from "./figures";
import { Mask } from "./Mask";

export function Camera({ id }: { id: string }) {
  const held = view.value!;
  const camera = held.cameras.find((one) => one.id === id);
  const { results, audits } = history(id).value;
  const colours = useMemo(() => words(held.colours), [held.bundle]);
  const audited = useMemo(() => new Map(audits.map((audit) => [audit.seq, audit.miou])), [audits]);
  const at = useMemo(() => results.map((result) => result.at), [results]);
  const accuracies = useMemo(
    () => [
      at,
      results.map((result) => result.target_miou),
      results.map((result) => result.predicted_miou),
      results.map((result) => audited.get(result.seq) ?? null),
    ],
    [at, audited],
  );
  const choices = useMemo(
    () => [
      at,
      results.map((result) => result.cost),
      results.map((result) => 1 - (held.ladder[result.configuration]?.variant ?? 0) / 10),
    ],
    [at, held.bundle],
  );
  const bytes = useMemo(
    () => [at, results.map((result) => result.bandwidth), results.map((result) => result.bytes / 1e6)],
    [at],
  );
  if (!camera) {
    return (
      <main id="main">
        <h1>No such camera</h1>
        <p>
          It was deleted, or is another tenant's. <a href="#/">All cameras</a>
        </p>
      </main>
    );
  }
  const newest = results.at(-1);
  const is = standing(camera, held, newest?.at ?? null, now.value);
  const share = saved([camera]);
  const shares = Object.entries(newest?.class_shares ?? {}).sort((a, b) => b[1] - a[1]);
  return (
    <main id="main" class="camera">
      <nav aria-label="Place">
        <a href="#/">All cameras</a>
      </nav>
      <header class={is}>
        <h1>{camera.name}</h1>
        <span class="standing">{LABELS[is]}</span>
      </header>
      <div class="columns">
        <section aria-label="Last frame">
          <Mask
            maps={results.findLast((result) => result.masks)?.masks ?? null}
            colours={colours}
            widest={960}
            description={`Segmentation of ${camera.name}`}
          />
          <ul class="classes" aria-label="Classes by share of pixels">
            {shares.slice(0, 8).map(([name, part]) => (
              <li key={name}>
                <svg viewBox="0 0 10 10" width="10" height="10" aria-hidden="true">
                  <rect width="10" height="10" fill={held.colours[held.classes.indexOf(name)]} />
                </svg>
                {name} {percent(part, 1)}
              </li>
            ))}
          </ul>
        </section>
        <section aria-label="Figures">
          <Target id={id} target={camera.target_miou} may={held.scope === "tenant"} />
          <dl class="figures">
            <dt>Accuracy of the newest segment, predicted / target</dt>
            <dd>
              {accuracy(newest?.predicted_miou)} / {accuracy(newest?.target_miou ?? camera.target_miou)}
            </dd>
            <dt>Failed segments, certified</dt>
            <dd>
              at least {percent(camera.promise.failure_rate_at_least, 1)},{" "}
              {bound(camera.promise.failure_rate_at_most)} (promised: at most {percent(held.failure_rate)})
            </dd>
            <dt>Audits</dt>
            <dd>
              {camera.promise.audits_answered} answered, {camera.promise.audits_failed} below target
            </dd>
            <dt>Segments</dt>
            <dd>
              {camera.segments} accepted, {camera.dropped} dropped
            </dd>
            <dt>Cost saved against always the most expensive</dt>
            <dd>{share === null ? "–" : percent(share, 1)}</dd>
            <dt>Configuration</dt>
            <dd>{configuration(held.ladder[newest?.configuration ?? camera.last_configuration ?? -1])}</dd>
            <dt>Answered in</dt>
            <dd>{newest?.timings_ms.total ? `${newest.timings_ms.total.toFixed(0)} ms` : "–"}</dd>
          </dl>
        </section>
      </div>
      <Chart
        title="Accuracy (mIoU)"
        lines={[
          { label: "target", colour: "--target", kind: "step", dashed: true },
          { label: "predicted", colour: "--predicted" },
          { label: "audited", colour: "--audited", kind: "dots" },
        ]}
        data={accuracies}
        range={[0, 1]}
        height={200}
        format={(value) => value.toFixed(2)}
      />
      <Chart
        title="Chosen configuration"
        lines={[
          { label: "cost, 1 at the most expensive", colour: "--cost", kind: "step" },
          { label: "variant: dense above, sparse below", colour: "--muted", kind: "step" },
        ]}
        data={choices}
        range={[0, 1.05]}
        height={160}
        format={(value) => value.toFixed(1)}
      />
      <Chart
        title="Bytes against bandwidth (MB a second)"
        lines={[
          { label: "uplink", colour: "--target", kind: "step", dashed: true },
          { label: "sent", colour: "--predicted", kind: "step" },
        ]}
        data={bytes}
        height={160}
        format={(value) => value.toFixed(2)}
      />
    </main>
  );
}

function Target({ id, target, may }: { id: string; target: number; may: boolean }) {
  const [wanted, setWanted] = useState(target.toFixed(2));
  const [said, setSaid] = useState("");
  useEffect(() => setWanted(target.toFixed(2)), [id, target]);

  const change = async (event: Event) => {
    event.preventDefault();
    const value = Number(wanted);
    if (!(value >= 0 && value <= 1)) return setSaid("Give a number from 0 to 1.");
    try {
      await setTarget(id, value);
      await refresh();
      setSaid(`The target is ${value.toFixed(2)}; the camera follows with its next answer.`);
    } catch (error) {
      setSaid(error instanceof Refused ? error.message : "The server does not answer. Try again.");
    }
  };

  return (
    <form class="target" onSubmit={change}>
      <label for="target">Target mIoU</label>
      <input
        id="target"
        type="number"
        min="0"
        max="1"
        step="0.01"
        value={wanted}
        disabled={!may}
        onInput={(event) => setWanted(event.currentTarget.value)}
      />
      <button type="submit" disabled={!may}>
        Change
      </button>
      <p role="status">{may ? said : "This key only reads. Sign in with the tenant's key to change it."}</p>
    </form>
  );
}
