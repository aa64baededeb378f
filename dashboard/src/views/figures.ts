// Figures as people read them.

import type { CameraLive, Rung } from "../messages";

export const percent = (share: number, digits = 0) => `${(100 * share).toFixed(digits)} %`;
export const accuracy = (value: number | null | undefined) => (value == null ? "–" : value.toFixed(2));

/** An upper bound on the share of failed segments; before there are audits it says nothing. */
export const bound = (share: number) => (share > 0.995 ? "no bound yet" : `at most ${percent(share, 1)}`);

/** The share of cost saved against the most expensive configuration throughout; null before the first segment. */
export function saved(cameras: CameraLive[]): number | null {
  const segments = cameras.reduce((sum, camera) => sum + camera.segments + camera.dropped, 0);
  const cost = cameras.reduce((sum, camera) => sum + camera.cost_total, 0);
  return segments ? 1 - cost / segments : null;
}

export function configuration(rung: Rung | undefined): string {
  return rung ? `${rung.scale} / QP ${rung.qp} / variant ${rung.variant}` : "–";
}

export function ago(seconds: number): string {
  if (seconds < 2) return "now";
  if (seconds < 120) return `${Math.round(seconds)} s ago`;
  if (seconds < 7200) return `${Math.round(seconds / 60)} min ago`;
  return `${Math.round(seconds / 3600)} h ago`;
}
