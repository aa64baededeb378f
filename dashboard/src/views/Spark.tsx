// The last minute in a card: predicted accuracy against target, and under it the chosen variant, on one canvas.

import { useEffect, useRef } from "preact/hooks";

import type { Result } from "../messages";

const SHOWN_S = 60;
const WIDTH = 300;
const HEIGHT = 56;
const STRIP = 10;

export function Spark({ results, until, variants }: { results: Result[]; until: number; variants: number[] }) {
  const canvas = useRef<HTMLCanvasElement>(null);

  useEffect(() => {
    const brush = canvas.current!.getContext("2d")!;
    const style = getComputedStyle(document.documentElement);
    const colour = (name: string) => style.getPropertyValue(name);
    brush.setTransform(2, 0, 0, 2, 0, 0);
    brush.clearRect(0, 0, WIDTH, HEIGHT);
    const seen = results.filter((result) => result.at > until - SHOWN_S - 2);
    const x = (at: number) => WIDTH * (1 - (until - at) / SHOWN_S);
    const y = (value: number) => (HEIGHT - STRIP - 4) * (1 - value) + 1;
    const line = (value: (result: Result) => number | null, stroke: string, dash: number[]) => {
      brush.strokeStyle = stroke;
      brush.setLineDash(dash);
      brush.beginPath();
      let down = false;
      for (const result of seen) {
        const at = value(result);
        if (at === null) down = false;
        else if (down) brush.lineTo(x(result.at), y(at));
        else brush.moveTo(x(result.at), y(at)), (down = true);
      }
      brush.stroke();
    };
    brush.lineWidth = 1.5;
    line((result) => result.target_miou, colour("--target"), [4, 3]);
    line((result) => result.predicted_miou, colour("--predicted"), []);
    const most = Math.max(1, ...variants);
    for (const [i, result] of seen.entries()) {
      const end = seen[i + 1]?.at ?? until;
      brush.globalAlpha = 0.25 + 0.75 * (1 - (variants[result.configuration] ?? 0) / most);
      brush.fillStyle = colour("--cost");
      brush.fillRect(x(result.at), HEIGHT - STRIP, Math.max(1, x(end) - x(result.at) - 0.5), STRIP);
      brush.globalAlpha = 1;
    }
  }, [results, until, variants]);

  return <canvas ref={canvas} class="spark" width={2 * WIDTH} height={2 * HEIGHT} aria-hidden="true" />;
}
