// What the tables scroll with, without scrolling: the original measures a page that nobody looks at.
import type { ReactNode } from "react";

export function Scrollbars({ children }: { children?: ReactNode }) {
  return <div style={{ height: "100%", overflow: "hidden" }}>{children}</div>;
}

export default Scrollbars;
