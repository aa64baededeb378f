// What an operator must know of a camera first: does it keep its promise?

import type { Alert, CameraLive, LiveView } from "../messages";

export type Standing = "broken" | "silent" | "below" | "unproven" | "kept" | "new";

/** In the order in which they are to be seen. */
export const STANDINGS: Standing[] = ["broken", "silent", "below", "unproven", "kept", "new"];

export const LABELS: Record<Standing, string> = {
  broken: "Promise broken",
  silent: "Silent",
  below: "Below target",
  unproven: "Not yet certified",
  kept: "Promise certified",
  new: "No segment yet",
};

export function standing(camera: CameraLive, view: LiveView, newest: number | null, now: number): Standing {
  const open = (kind: Alert["kind"]) => view.alerts.some((a) => a.camera === camera.id && a.kind === kind);
  if (open("promise") || camera.promise.failure_rate_at_least > view.failure_rate) return "broken";
  const last = Math.max(newest ?? 0, camera.last_at ?? 0);
  if (last === 0) return "new";
  if (open("silent") || now - last > view.silent_after_s) return "silent";
  if ((camera.deficit_average ?? 0) > 0) return "below";
  return camera.promise.failure_rate_at_most <= view.failure_rate ? "kept" : "unproven";
}
