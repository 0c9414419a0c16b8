// The part of the service's HTTP interface that this page uses.

/** The error of a request, in words. It has no status if there was no answer. */
export class ServiceError extends Error {
  constructor(message, type, status) {
    super(message);
    this.type = type;
    this.status = status;
  }
}

/** The loaded models, the default one first. Throws a ServiceError. */
export async function listModels(key) {
  return (await request("models", key)).json();
}

/**
 * Asks for a prediction. Returns its timings until the label, in milliseconds, and its events as
 * `{name, data}`: label, rationale (any number), done. Both throw a ServiceError.
 */
export async function predict(body, key, signal) {
  const response = await request("predict", key, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ ...body, stream: true }),
    signal,
  });
  const timing = (stage) => Number(response.headers.get(`x-${stage}-time`));
  return {
    timings: {
      total: timing("total"),
      tokenization: timing("tokenization"),
      queue: timing("queue"),
      inference: timing("inference"),
    },
    events: readEvents(response.body),
  };
}

async function request(path, key, options = {}) {
  const headers = { ...options.headers };
  if (key) headers.authorization = `Bearer ${key}`;
  const response = await answered(fetch(path, { ...options, headers }));
  if (response.ok) return response;
  const { error, error_type: type } = await response.json().catch(() => ({}));
  const wait = response.status === 429 ? ` (in ${response.headers.get("retry-after")} s)` : "";
  throw new ServiceError((error ?? `HTTP status ${response.status}`) + wait, type, response.status);
}

/** Server-sent events whose data is JSON. */
async function* readEvents(stream) {
  const reader = stream.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  let name;
  do {
    const { value, done } = await answered(reader.read());
    if (done) throw new ServiceError("the answer broke off before its end", "unreachable");
    const blocks = (rest + value).split("\n\n");
    rest = blocks.pop();
    for (const block of blocks) {
      const lines = block.split("\n");
      const field = (key) =>
        lines.find((line) => line.startsWith(`${key}: `))?.slice(key.length + 2);
      name = field("event");
      if (!name) continue; // a comment that keeps the connection open
      const data = JSON.parse(field("data"));
      if (name === "error") throw new ServiceError(data.error, data.error_type);
      yield { name, data };
    }
  } while (name !== "done");
}

async function answered(promise) {
  try {
    return await promise;
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new ServiceError("the service cannot be reached; is it running?", "unreachable");
  }
}
