// A time series with uPlot, in the page's colours, drawn anew when its data or the colour scheme changes.

import { useEffect, useLayoutEffect, useRef } from "preact/hooks";
import uPlot from "uplot";
import "uplot/dist/uPlot.min.css";

export interface Line {
  label: string;
  colour: string; // name of a custom property
  kind?: "line" | "step" | "dots";
  dashed?: boolean;
}

interface Props {
  title: string;
  lines: Line[];
  data: (number | null)[][]; // first row: Unix seconds
  range?: [number, number];
  height: number;
  format: (value: number) => string;
}

const steps = uPlot.paths.stepped!({ align: 1 });

function resolved(name: string): string {
  return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
}

export function Chart({ title, lines, data, range, height, format }: Props) {
  const box = useRef<HTMLDivElement>(null);
  const plot = useRef<uPlot | null>(null);
  const latest = useRef(data);
  latest.current = data;

  useLayoutEffect(() => {
    const element = box.current!;
    const make = () => {
      plot.current?.destroy();
      const grid = { stroke: resolved("--line"), width: 1 };
      const axis = { stroke: resolved("--muted"), grid, ticks: { show: false }, font: "11px system-ui" };
      plot.current = new uPlot(
        {
          width: element.clientWidth,
          height,
          legend: { show: false },
          cursor: { y: false, points: { show: false } },
          scales: { x: { time: true }, y: range ? { range } : {} },
          axes: [axis, { ...axis, size: 56, values: (_, ticks) => ticks.map(format) }],
          series: [
            {},
            ...lines.map((line) => ({
              label: line.label,
              stroke: resolved(line.colour),
              width: 1.5,
              spanGaps: line.kind !== "dots",
              ...(line.dashed ? { dash: [5, 4] } : {}),
              ...(line.kind === "step" ? { paths: steps } : {}),
              ...(line.kind === "dots" ? { paths: () => null } : {}),
              points: { show: line.kind === "dots", size: 8, fill: resolved(line.colour) },
            })),
          ],
        },
        latest.current as uPlot.AlignedData,
        element,
      );
    };
    make();
    const sized = new ResizeObserver(() => plot.current?.setSize({ width: element.clientWidth, height }));
    sized.observe(element);
    const scheme = matchMedia("(prefers-color-scheme: dark)");
    scheme.addEventListener("change", make);
    return () => {
      sized.disconnect();
      scheme.removeEventListener("change", make);
      plot.current?.destroy();
      plot.current = null;
    };
  }, []);

  useEffect(() => plot.current?.setData(data as uPlot.AlignedData), [data]);

  return (
    <figure class="chart">
      <figcaption>
        <span>{title}</span>
        {lines.map((line) => (
          <span key={line.label} class="key">
            <svg viewBox="0 0 16 8" width="16" height="8" aria-hidden="true">
              {line.kind === "dots" ? (
                <circle cx="8" cy="4" r="3" fill={`var(${line.colour})`} />
              ) : (
                <path
                  d="M0 4h16"
                  stroke={`var(${line.colour})`}
                  stroke-width="2"
                  stroke-dasharray={line.dashed ? "4 3" : undefined}
                />
              )}
            </svg>
            {line.label}
          </span>
        ))}
      </figcaption>
      <div ref={box} />
    </figure>
  );
}
