// The newest label map of a camera; painted only while it is on the screen.

import { useEffect, useRef } from "preact/hooks";

import type { LabelMaps } from "../messages";
import { paint } from "../live/masks";

interface Props {
  maps: LabelMaps | null;
  colours: Uint32Array;
  widest: number;
  description: string;
}

export function Mask({ maps, colours, widest, description }: Props) {
  const canvas = useRef<HTMLCanvasElement>(null);
  const visible = useRef(true);
  const painted = useRef<LabelMaps | null>(null);
  const painting = useRef(false);
  const newest = useRef(maps);
  newest.current = maps;

  const show = () => {
    const wanted = newest.current;
    // One at a time, then the newest: where painting takes longer than maps take to come, some are left out.
    if (painting.current || !wanted || wanted === painted.current) return;
    if (!visible.current || wanted.coding !== "steps") return;
    painted.current = wanted;
    painting.current = true;
    void paint(wanted, colours, widest)
      .then((picture) => {
        const target = canvas.current;
        if (!target) return;
        if (target.width !== picture.width) target.width = picture.width;
        if (target.height !== picture.height) target.height = picture.height;
        target.getContext("2d")!.putImageData(picture, 0, 0);
      })
      .finally(() => {
        painting.current = false;
        show();
      });
  };

  useEffect(() => {
    const watching = new IntersectionObserver(([entry]) => {
      visible.current = entry!.isIntersecting;
      show();
    });
    watching.observe(canvas.current!);
    return () => watching.disconnect();
  }, []);
  useEffect(show, [maps]);

  return (
    <div class="mask">
      <canvas ref={canvas} width={320} height={180} role="img" aria-label={description} />
      {maps === null && <span class="empty">no label map held</span>}
    </div>
  );
}
