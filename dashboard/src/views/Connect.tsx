// How to connect a camera: the command with the key that signed in, to copy, and as a QR code for another device.

import { useState } from "preact/hooks";
import { renderSVG } from "uqr";

import { heldKey } from "../live/server";
import { view } from "../live/store";

const MASKED = "•".repeat(12);

export function Connect() {
  const [source, setSource] = useState("demo:");
  const [name, setName] = useState("camera-1");
  const [shown, setShown] = useState(false);
  const [copied, setCopied] = useState("");
  const held = view.value!;
  const command = (key: string) =>
    `PENANCE_KEY=${key} penance-camera ${quoted(source)} --server ${location.origin} --name ${quoted(name)}`;
  const code = shown ? `data:image/svg+xml,${encodeURIComponent(renderSVG(command(heldKey() ?? "")))}` : null;

  const copy = async () => {
    try {
      await navigator.clipboard.writeText(command(heldKey() ?? ""));
      setCopied("Copied, with the key.");
    } catch {
      setShown(true);
      setCopied("This browser lets no page copy here: the command is shown instead.");
    }
  };

  return (
    <main id="main" class="connect">
      <nav aria-label="Place">
        <a href="#/">All cameras</a>
      </nav>
      <h1>Connect a camera</h1>
      {held.scope === "read-only" && (
        <p class="note">This key only reads. Sign in with the tenant's key: a camera needs it to register.</p>
      )}
      <ol>
        <li>
          On the camera's machine (Linux, x86-64 or ARM, Python 3.11), install the client, from a clone of the
          server's repository:
          <pre tabIndex={0}>pip install .</pre>
        </li>
        <li>
          Say what it shall send.
          <div class="fields">
            <label>
              Source: a file, a webcam's number, an RTSP address, or <code>demo:</code>
              <input value={source} onInput={(event) => setSource(event.currentTarget.value)} />
            </label>
            <label>
              Name
              <input value={name} maxLength={128} onInput={(event) => setName(event.currentTarget.value)} />
            </label>
          </div>
        </li>
        <li>
          Run it. It appears among the cameras with its first segment.
          <pre tabIndex={0} class="command">
            {command(shown ? (heldKey() ?? "") : MASKED)}
          </pre>
          <p class="buttons">
            <button type="button" onClick={copy}>
              Copy with key
            </button>
            <button type="button" aria-pressed={shown} onClick={() => setShown(!shown)}>
              {shown ? "Hide key and QR code" : "Show key and QR code"}
            </button>
            <span role="status">{copied}</span>
          </p>
          {code && <img class="qr" src={code} alt="QR code of the command, with the key in it" />}
        </li>
      </ol>
      <p>
        Frames are never stored. Of each segment the server keeps what it answered for{" "}
        {held.retention.window_s.toFixed(0)} s, with{" "}
        {held.retention.label_maps === "none" ? "no label maps" : `the ${held.retention.label_maps} label map`}.
      </p>
    </main>
  );
}

/** A word as a POSIX shell takes it. */
function quoted(text: string): string {
  return /^[\w.:@/+-]+$/.test(text) ? text : `'${text.replaceAll("'", `'\\''`)}'`;
}
