// One camera in the grid: whether it keeps its promise first, then what it sees and what that costs.

import { memo } from "preact/compat";

import { LABELS, type Standing } from "../live/standing";
import { history } from "../live/store";
import type { CameraLive, LiveView } from "../messages";
import { accuracy, ago, bound, configuration, percent, saved } from "./figures";
import { Mask } from "./Mask";
import { Spark } from "./Spark";

interface Props {
  camera: CameraLive;
  view: LiveView;
  standing: Standing;
  colours: Uint32Array;
  variants: number[];
  now: number;
}

export const Card = memo(function Card({ camera, view, standing, colours, variants, now }: Props) {
  const { results } = history(camera.id).value;
  const newest = results.at(-1);
  const maps = results.findLast((result) => result.masks)?.masks ?? null;
  const share = saved([camera]);
  const last = Math.max(newest?.at ?? 0, camera.last_at ?? 0);
  return (
    <a class={`card ${standing}`} href={`#/cameras/${camera.id}`} data-camera={camera.name}>
      <header>
        <h2>{camera.name}</h2>
        <span class="standing">{LABELS[standing]}</span>
      </header>
      <Mask maps={maps} colours={colours} widest={320} description={`Segmentation of ${camera.name}`} />
      <Spark results={results} until={now} variants={variants} />
      <dl>
        <div>
          <dt>Accuracy / target</dt>
          <dd>
            {accuracy(newest?.predicted_miou)} / {accuracy(newest?.target_miou ?? camera.target_miou)}
          </dd>
        </div>
        <div>
          <dt>Failures certified</dt>
          <dd>{bound(camera.promise.failure_rate_at_most)}</dd>
        </div>
        <div>
          <dt>Sent / uplink</dt>
          <dd>
            {newest ? (newest.bytes / 1e6).toFixed(2) : "–"} / {newest?.bandwidth?.toFixed(2) ?? "–"} MB/s
          </dd>
        </div>
        <div>
          <dt>Cost saved</dt>
          <dd>{share === null ? "–" : percent(share)}</dd>
        </div>
        <div>
          <dt>Dropped</dt>
          <dd>
            {camera.dropped} of {camera.segments + camera.dropped}
          </dd>
        </div>
        <div class="wide">
          <dt>Configuration</dt>
          <dd>{configuration(view.ladder[newest?.configuration ?? camera.last_configuration ?? -1])}</dd>
        </div>
      </dl>
      <footer>{last ? `segment ${newest ? newest.seq : ""} ${ago(Math.max(0, now - last))}` : "waiting for the first segment"}</footer>
    </a>
  );
});
