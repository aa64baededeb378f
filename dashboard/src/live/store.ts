// All that the page knows, as signals: what the server says of the tenant every few seconds, and each camera's
// results as they come. Results are gathered and shown four times a second, however many cameras there are.

import { batch, signal, type Signal } from "@preact/signals";

import type { AuditResult, LiveView, Result } from "../messages";
import { follow, type ServerEvent } from "./events";
import { heldKey, holdKey, liveView, Refused } from "./server";

const KEPT = 300; // results of a camera: five minutes
const HISTORY_S = 90;
const VIEW_EVERY_MS = 5000;
const SHOWN_EVERY_MS = 250;

export interface History {
  results: Result[]; // oldest first, label maps of the newest only
  audits: AuditResult[];
}

export const signedIn = signal(heldKey() !== null);
export const view = signal<LiveView | null>(null);
export const fault = signal<string | null>(null);
export const now = signal(Date.now() / 1000); // by the server's clock

const histories = new Map<string, Signal<History>>();
let fresh = new Map<string, { results: Result[]; audits: AuditResult[] }>();
let ending: AbortController | null = null;
let ahead = 0; // the server's clock less this one's

export function history(camera: string): Signal<History> {
  let held = histories.get(camera);
  if (!held) histories.set(camera, (held = signal({ results: [], audits: [] })));
  return held;
}

/** Takes a key into use. Throws `Refused` where it opens nothing here. */
export async function signIn(key: string): Promise<void> {
  const found = await liveView(key);
  holdKey(key);
  batch(() => {
    view.value = found;
    fault.value = null;
    signedIn.value = true;
  });
  start();
}

export function signOut(): void {
  ending?.abort();
  ending = null;
  holdKey(null);
  histories.clear();
  fresh.clear();
  batch(() => {
    signedIn.value = false;
    view.value = null;
  });
}

/** Follows the tenant until signed out. */
export function start(): void {
  ending?.abort();
  ending = new AbortController();
  const { signal: ended } = ending;
  void (async () => {
    await refresh();
    if (ended.aborted || !view.value) return;
    const masks = view.value.retention.label_maps === "none" ? "none" : "last";
    const since = `${Math.floor((view.value.at - HISTORY_S) * 1000)}-0`;
    void follow(`/v1/results?masks=${masks}`, since, take, connected, ended);
  })();
  const refreshing = window.setInterval(() => void refresh(), VIEW_EVERY_MS);
  const showing = window.setInterval(show, SHOWN_EVERY_MS);
  ended.addEventListener("abort", () => {
    clearInterval(refreshing);
    clearInterval(showing);
  });
}

export async function refresh(): Promise<void> {
  try {
    const found = await liveView();
    ahead = found.at - Date.now() / 1000;
    view.value = found;
    if (!ending?.signal.aborted) fault.value = null;
  } catch (error) {
    connected(error as Error);
  }
}

function connected(error: Error | null): void {
  if (error instanceof Refused && error.problem.status === 401) signOut();
  fault.value =
    error === null ? null : error instanceof Refused ? error.message : "The server does not answer. Trying again.";
}

function take(event: ServerEvent): void {
  if (event.name !== "result" && event.name !== "audit") return;
  const message = JSON.parse(event.data) as Result | AuditResult;
  let waiting = fresh.get(message.camera);
  if (!waiting) fresh.set(message.camera, (waiting = { results: [], audits: [] }));
  if (event.name === "result") waiting.results.push(message as Result);
  else waiting.audits.push(message as AuditResult);
}

function show(): void {
  const coming = fresh;
  fresh = new Map();
  batch(() => {
    now.value = Math.floor(Date.now() / 1000 + ahead);
    for (const [camera, { results, audits }] of coming) {
      const held = history(camera);
      const known = new Set(held.value.results.slice(-results.length - 64).map((result) => result.seq));
      const added = results.filter((result) => !known.has(result.seq));
      const all = [...held.value.results, ...added].slice(-KEPT);
      // one label map a camera is enough to show
      const shown = all.findLastIndex((result) => result.masks !== null);
      held.value = {
        results: all.map((result, i) => (i === shown || !result.masks ? result : { ...result, masks: null })),
        audits: [...held.value.audits, ...audits].slice(-KEPT),
      };
    }
  });
}
