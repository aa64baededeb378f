import preact from "@preact/preset-vite";
import { defineConfig } from "vite";

// The build is committed: people who run a server need no Node. `npm run build` makes it anew.
export default defineConfig({
  plugins: [preact()],
  build: {
    outDir: "../serving/dashboard",
    emptyOutDir: true,
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
  },
  server: { proxy: { "/v1": process.env.PENANCE_SERVER ?? "http://127.0.0.1:8000" } },
});
