// Icons: 24 by 24, drawn by lines, in the colour of the text around them.

import { s } from "./dom.js";

const PATHS = {
  overview: "M4 19V11M10 19V5M16 19v-6M21 19H3",
  live: "M5 12h3l2.5-6 4 12 2.5-6H20",
  users: "M9 11a3.5 3.5 0 1 0 0-7 3.5 3.5 0 0 0 0 7ZM2.5 20c0-3.6 2.9-6 6.5-6s6.5 2.4 6.5 6M16 4.5a3.5 3.5 0 0 1 0 6.2M18 14.6c2.1.9 3.5 2.8 3.5 5.4",
  meters: "M4 17a8 8 0 1 1 16 0M12 17l4-6M4 20h16",
  authentication: "M12 3l7 3v5c0 4.6-2.9 8.2-7 10-4.1-1.800-7-5.400-7-10V6l7-3ZM9 12l2 2 4-4",
  deployments: "M12 15V4M8 8l4-4 4 4M4 15v4h16v-4",
  networks: "M12 21a9 9 0 1 0 0-18 9 9 0 0 0 0 18ZM3 12h18M12 3c2.500 2.600 3.700 5.600 3.700 9S14.500 18.400 12 21c-2.500-2.600-3.700-5.600-3.700-9S9.500 5.600 12 3Z",
  keys: "M8 15a4 4 0 1 0 0-8 4 4 0 0 0 0 8ZM11.500 11H21v3.500M17 11v3",
  audit: "M7 3h10a1 1 0 0 1 1 1v16a1 1 0 0 1-1 1H7a1 1 0 0 1-1-1V4a1 1 0 0 1 1-1ZM9.500 8h5M9.500 12h5M9.500 16h3",
  admins: "M12 11a3.500 3.500 0 1 0 0-7 3.500 3.500 0 0 0 0 7ZM5 20c0-3.600 3.100-6 7-6s7 2.400 7 6",
  settings: "M4 7h10M18 7h2M4 17h2M10 17h10M16 9a2 2 0 1 0 0-4 2 2 0 0 0 0 4ZM8 19a2 2 0 1 0 0-4 2 2 0 0 0 0 4Z",
  search: "M11 18a7 7 0 1 0 0-14 7 7 0 0 0 0 14ZM16 16l4.500 4.500",
  copy: "M9 9h10v11H9zM5 15V4h10",
  check: "M5 12.500l4.500 4.500L19 7",
  close: "M6 6l12 12M18 6L6 18",
  menu: "M4 7h16M4 12h16M4 17h16",
  pause: "M9 5v14M15 5v14",
  play: "M8 5l11 7-11 7V5Z",
  plus: "M12 5v14M5 12h14",
  down: "M6 9l6 6 6-6",
  next: "M9 6l6 6-6 6",
  back: "M15 6l-6 6 6 6",
  light: "M12 16a4 4 0 1 0 0-8 4 4 0 0 0 0 8ZM12 2.500V5M12 19v2.500M4.500 4.500 6.300 6.300M17.700 17.700l1.800 1.800M2.500 12H5M19 12h2.500M4.500 19.500l1.800-1.800M17.700 6.300l1.800-1.800",
  dark: "M20 14.500A8 8 0 0 1 9.500 4a8 8 0 1 0 10.500 10.500Z",
  system: "M4 5h16v11H4zM9 20h6M12 16v4",
  out: "M14 4H6v16h8M11 12h10M17.500 8.500 21 12l-3.500 3.500",
  warn: "M12 4 2.500 20h19L12 4ZM12 10v4.500M12 17.300v.2",
  refresh: "M20 11a8 8 0 1 0-2.300 6.200M20 4v6h-6",
  download: "M12 4v11M8 11l4 4 4-4M4 19h16",
  bolt: "M13 3 5 14h6l-1 7 8-11h-6l1-7Z",
};

/** An icon that says nothing to a screen reader: the text beside it does. */
export const icon = (name) =>
  s(
    "svg",
    {
      class: "icon",
      viewBox: "0 0 24 24",
      fill: "none",
      stroke: "currentColor",
      "stroke-width": "1.7",
      "stroke-linecap": "round",
      "stroke-linejoin": "round",
      "aria-hidden": "true",
      focusable: "false",
    },
    s("path", { d: PATHS[name] }),
  );
