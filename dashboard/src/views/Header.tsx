// The tenant as a whole and the platform, in one line above everything.

import { fault, signOut, view } from "../live/store";
import { bound, percent, saved } from "./figures";

export function Header() {
  const held = view.value!;
  const { load, promise } = held;
  const share = saved(held.cameras);
  const broken = promise.failure_rate_at_least > held.failure_rate;
  return (
    <header class="top">
      <a class="home" href="#/">
        Penance <span>{held.tenant}</span>
      </a>
      <dl>
        <div class={broken ? "broken" : ""}>
          <dt>Failures certified</dt>
          <dd>
            {bound(promise.failure_rate_at_most)}, {percent(held.failure_rate)} promised
          </dd>
        </div>
        <div>
          <dt>Cost saved</dt>
          <dd>{share === null ? "–" : percent(share)}</dd>
        </div>
        <div class={load.left_out === "nothing" ? "" : "below"}>
          <dt>Load</dt>
          <dd>
            {load.running} of {load.lanes} lanes, {load.waiting} waiting
            {load.waiting ? ` (${load.backlog_s.toFixed(1)} s)` : ""}
            {load.left_out === "nothing" ? "" : `, without ${load.left_out}`}
          </dd>
        </div>
      </dl>
      <nav aria-label="Page">
        <a href="#/connect">Connect a camera</a>
        <button type="button" onClick={signOut}>
          Sign out
        </button>
      </nav>
      {fault.value && (
        <p class="fault" role="alert">
          {fault.value}
        </p>
      )}
    </header>
  );
}
