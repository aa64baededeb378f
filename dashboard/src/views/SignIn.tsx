import { useState } from "preact/hooks";

import { Refused } from "../live/server";
import { fault, signIn } from "../live/store";

export function SignIn() {
  const [key, setKey] = useState("");
  const [said, setSaid] = useState("");
  const [busy, setBusy] = useState(false);

  const enter = async (event: Event) => {
    event.preventDefault();
    setBusy(true);
    setSaid("");
    try {
      await signIn(key.trim());
    } catch (error) {
      setSaid(error instanceof Refused ? error.message : "The server does not answer. Try again.");
      setBusy(false);
    }
  };

  return (
    <main id="main" class="signin">
      <h1>Penance</h1>
      <form onSubmit={enter}>
        <label for="key">Key of the tenant, or one that only reads</label>
        <input
          id="key"
          type="password"
          autoComplete="off"
          spellcheck={false}
          required
          value={key}
          aria-describedby="said"
          aria-invalid={said !== ""}
          onInput={(event) => setKey(event.currentTarget.value)}
        />
        <button type="submit" disabled={busy}>
          {busy ? "Signing in" : "Sign in"}
        </button>
        <p id="said" role="alert">
          {said || fault.value}
        </p>
      </form>
      <p class="note">
        A server's first start writes the key of tenant <code>demo</code> to{" "}
        <code>~/.local/state/penance/demo.key</code>. It stays in this tab and is forgotten with it.
      </p>
    </main>
  );
}
