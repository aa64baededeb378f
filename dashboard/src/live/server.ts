// The server as the page asks it: with the key of who signed in, which stays in this tab's sessionStorage.

import type { LiveView, Problem } from "../messages";

const KEY = "penance-key";

export class Refused extends Error {
  constructor(readonly problem: Problem) {
    super(problem.detail);
  }
}

export function heldKey(): string | null {
  return sessionStorage.getItem(KEY);
}

export function holdKey(key: string | null): void {
  if (key === null) sessionStorage.removeItem(KEY);
  else sessionStorage.setItem(KEY, key);
}

/** The answer to a request. Throws `Refused`, or `TypeError` where no answer came. */
export async function ask(path: string, options: RequestInit = {}, key = heldKey()): Promise<Response> {
  const headers = new Headers(options.headers);
  headers.set("Authorization", `Bearer ${key ?? ""}`);
  const response = await fetch(path, { ...options, headers, cache: "no-store", redirect: "error" });
  if (response.ok) return response;
  let problem: Problem;
  try {
    problem = (await response.json()) as Problem;
  } catch {
    problem = { title: "Refused", status: response.status, detail: `The server answered ${response.status}.` };
  }
  throw new Refused(problem);
}

export async function liveView(key = heldKey()): Promise<LiveView> {
  return (await (await ask("/v1/live", {}, key)).json()) as LiveView;
}

export async function setTarget(camera: string, target: number): Promise<void> {
  await ask(`/v1/clients/${camera}`, {
    method: "PATCH",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify({ target_miou: target }),
  });
}
