// Short helpers for the DOM.

export function byId(id) {
  return document.getElementById(id);
}

/** A new element with properties (not attributes) and children. */
export function element(tag, properties = {}, children = []) {
  const made = Object.assign(document.createElement(tag), properties);
  made.append(...children);
  return made;
}
