// What the page asks the server for. Every address is relative, so that the token in the page's own is in each of them.

export class Failure extends Error {
  constructor(message, status) {
    super(message);
    this.status = status;
  }
}

async function asked(path, options = {}) {
  let answer;
  try {
    answer = await fetch(path, { ...options, cache: "no-store" });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Failure("the server does not answer: has `pipelines view` ended?", 0);
  }
  if (answer.ok) return answer;
  const text = await answer.text();
  let message = text || `${answer.status}`;
  try {
    message = JSON.parse(text).error ?? message;
  } catch {
    // it is a sentence already
  }
  throw new Failure(message, answer.status);
}

export const json = async (path, options) => (await asked(path, options)).json();

export async function bytes(path, options) {
  return new Uint8Array(await (await asked(path, options)).arrayBuffer());
}

export async function bitmap(path, options) {
  return createImageBitmap(await (await asked(path, options)).blob(), { colorSpaceConversion: "none" });
}

export function save(number, key, mask, base) {
  const headers = { "content-type": "application/octet-stream", "x-base": base };
  return json(`cases/${number}/masks/${key}`, { method: "POST", headers, body: mask });
}
