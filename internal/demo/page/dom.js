// The few things every part of the page needs. All text goes in as text, never as markup.

/** @returns {HTMLElement} */
export const $ = (id) => document.getElementById(id);

/** Makes an element: el("li", "note", "some text", child). */
export function el(tag, className, ...children) {
  const node = document.createElement(tag);
  if (className) node.className = className;
  node.append(...children);
  return node;
}

/** The part of a connection ID that people can tell apart. */
export const short = (id) => id.slice(id.indexOf("-") + 1).slice(0, 6);

/** A connection's name in its own colour. */
export function who(id) {
  const node = el("span", "who", short(id));
  node.title = id;
  let hash = 0;
  for (const c of id) hash = (hash * 31 + c.charCodeAt(0)) % 360;
  node.style.setProperty("--hue", hash);
  return node;
}

/** Bytes for people. */
export function bytes(n) {
  if (n < 1024) return `${n} B`;
  if (n < 1024 * 1024) return `${(n / 1024).toFixed(1)} KiB`;
  return `${(n / 1024 / 1024).toFixed(2)} MiB`;
}
