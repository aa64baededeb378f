// Messages of the interface, as far as the page reads them: clients/live.py, clients/results.py, clients/protocol.py.

export interface Promised {
  segments: number;
  dropped: number;
  audits_answered: number;
  audits_failed: number;
  confidence: number;
  failure_rate_at_most: number;
  failure_rate_at_least: number;
}

export interface CameraLive {
  id: string;
  name: string;
  target_miou: number;
  segments: number;
  dropped: number;
  last_at: number | null;
  last_configuration: number | null;
  cost_total: number;
  cost_average: number | null;
  deficit_average: number | null;
  overuse_average: number | null;
  promise: Promised;
}

export interface Rung {
  configuration: number;
  scale: number;
  qp: number;
  variant: number;
  cost: number;
}

export interface Alert {
  id: string;
  kind: "silent" | "promise";
  camera: string | null;
  name: string | null;
  detail: string;
  opened_at: number;
}

export interface Load {
  replicas: number;
  lanes: number;
  running: number;
  waiting: number;
  backlog_s: number;
  left_out: string;
}

export interface LiveView {
  at: number;
  tenant: string;
  scope: "tenant" | "read-only";
  bundle: string;
  classes: string[];
  colours: string[];
  ladder: Rung[];
  failure_rate: number;
  silent_after_s: number;
  promise: Promised;
  retention: { window_s: number; label_maps: "none" | "last" | "all" };
  cameras: CameraLive[];
  alerts: Alert[];
  load: Load;
}

export interface LabelMaps {
  frames: number;
  height: number;
  width: number;
  data: string;
  coding: "xor" | "steps";
}

export interface Result {
  camera: string;
  seq: number;
  at: number;
  dropped: number[];
  configuration: number;
  cost: number;
  predicted_miou: number | null;
  target_miou: number;
  class_shares: Record<string, number>;
  timings_ms: Record<string, number>;
  bytes: number;
  bandwidth: number | null;
  masks: LabelMaps | null;
}

export interface AuditResult {
  camera: string;
  seq: number;
  at: number;
  miou: number;
}

export interface Problem {
  title: string;
  status: number;
  detail: string;
  retry_after_s?: number;
}
