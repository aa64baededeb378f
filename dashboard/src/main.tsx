import { signal } from "@preact/signals";
import { render } from "preact";

import { signedIn, start, view } from "./live/store";
import "./style.css";
import { Camera } from "./views/Camera";
import { Connect } from "./views/Connect";
import { Grid } from "./views/Grid";
import { Header } from "./views/Header";
import { SignIn } from "./views/SignIn";

const place = signal(location.hash);

function Place() {
  const [, kind, id] = place.value.split("/");
  if (kind === "cameras" && id) return <Camera key={id} id={decodeURIComponent(id)} />;
  if (kind === "connect" || view.value!.cameras.length === 0) return <Connect />;
  return <Grid />;
}

function Page() {
  if (!signedIn.value) return <SignIn />;
  if (!view.value) {
    return (
      <main id="main" class="signin">
        <p role="status">Asking the server …</p>
      </main>
    );
  }
  return (
    <>
      <a class="skip" href="#main" onClick={toMain}>
        To the cameras
      </a>
      <Header />
      <Place />
    </>
  );
}

/** The address is the place in the page, so the link moves the focus instead. */
function toMain(event: Event): void {
  event.preventDefault();
  document.querySelector<HTMLElement>("main a, main button, main input")?.focus();
}

window.addEventListener("hashchange", () => {
  place.value = location.hash;
  window.scrollTo(0, 0);
});
if (signedIn.value) start();
render(<Page />, document.getElementById("page")!);
