// Server-sent events over fetch, because EventSource can carry no key; reconnects by itself.

import { ask, Refused } from "./server";

export interface ServerEvent {
  name: string;
  id: string;
  data: string;
}

const FIRST_WAIT_MS = 500;
const LONGEST_WAIT_MS = 10_000;
const SILENCE_MS = 45_000; // the server says something every 15 s

/** Splits a text stream into events, as the HTML standard has it; what is left over waits for more. */
export class EventParser {
  #rest = "";
  #id = "";

  feed(text: string): ServerEvent[] {
    const blocks = (this.#rest + text).split("\n\n");
    this.#rest = blocks.pop() ?? "";
    const events: ServerEvent[] = [];
    for (const block of blocks) {
      let name = "message";
      const data: string[] = [];
      for (const line of block.split("\n")) {
        const colon = line.indexOf(":");
        if (colon <= 0) continue; // a comment
        const value = line.slice(colon + 1).replace(/^ /, "");
        const field = line.slice(0, colon);
        if (field === "event") name = value;
        else if (field === "data") data.push(value);
        else if (field === "id") this.#id = value;
      }
      if (data.length) events.push({ name, id: this.#id, data: data.join("\n") });
    }
    return events;
  }
}

/** Whether an id, milliseconds and a number, is behind another. */
function later(id: string, than: string): boolean {
  const [a, b] = [id.split("-").map(Number), than.split("-").map(Number)];
  return a[0]! > b[0]! || (a[0] === b[0] && a[1]! > b[1]!);
}

/** Follows `path` until `signal` aborts; `connected` hears whether the server answers. */
export async function follow(
  path: string,
  start: string,
  take: (event: ServerEvent) => void,
  connected: (fault: Error | null) => void,
  signal: AbortSignal,
): Promise<void> {
  let last = start;
  let wait = FIRST_WAIT_MS;
  while (!signal.aborted) {
    const connection = new AbortController();
    const abort = () => connection.abort();
    signal.addEventListener("abort", abort);
    let silence = 0;
    const heard = () => {
      clearTimeout(silence);
      silence = window.setTimeout(abort, SILENCE_MS);
    };
    try {
      heard();
      const headers = { "Last-Event-ID": last };
      const response = await ask(path, { headers, signal: connection.signal });
      connected(null);
      wait = FIRST_WAIT_MS;
      const parser = new EventParser();
      const reader = response.body!.pipeThrough(new TextDecoderStream()).getReader();
      for (let part = await reader.read(); !part.done; part = await reader.read()) {
        heard();
        for (const event of parser.feed(part.value)) {
          if (event.name === "problem") throw new Refused(JSON.parse(event.data));
          if (event.id && later(event.id, last)) last = event.id; // the first ones may be older, and come again
          take(event);
        }
      }
      throw new TypeError("The server ended the connection.");
    } catch (error) {
      if (signal.aborted) return;
      connected(error as Error);
      if (error instanceof Refused && error.problem.status < 500 && error.problem.status !== 429) return;
      await new Promise((resume) => setTimeout(resume, wait * (0.5 + Math.random() / 2)));
      wait = Math.min(LONGEST_WAIT_MS, 2 * wait);
    } finally {
      clearTimeout(silence);
      signal.removeEventListener("abort", abort);
    }
  }
}
