// The curl command for the page's request, for a POSIX shell.

export function curl(body, key) {
  const url = new URL("predict", document.baseURI).href;
  const headers = ["content-type: application/json"];
  const lines = [
    `curl ${quote(url)}`,
    ...headers.map((header) => `-H ${quote(header)}`),
    ...(key ? ['-H "authorization: Bearer $DUET_API_KEY"'] : []), // never the key itself
    `-d ${quote(JSON.stringify(body))}`,
  ];
  return lines.join(" \\\n  ");
}

function quote(text) {
  if (/^[\w:/.-]+$/.test(text)) return text;
  return `'${text.replaceAll("'", "'\\''")}'`;
}
