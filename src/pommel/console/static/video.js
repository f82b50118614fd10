// The machine's film: chunks of H.264 to frames that can be drawn, by the browser's own decoder. No DOM, no socket.
// Every chunk needs the one before it, so each is decoded, even if it is not drawn; one that fails ends the stream.

const H264_ANNEX_B = 2;
const STUCK_MS = 3000; // a decoder that keeps a frame to itself for so long is of no use here
const ANSWER_MS = 3000; // pictures come meanwhile
const PROBED = { codec: "avc1.640028", optimizeForLatency: true, codedWidth: 1920, codedHeight: 1080 };

// A film of one frame, as the machine's end makes them, and the colour that it has. Firefox 153 takes the full range for
// the limited one: black and white would be cut off, and the picture would change wherever it begins to move.
const SAMPLE = "AAAAAWdkAAqstCE03AQ0BQAAAwABAAADADyPEiagAAAAAWjvAjywAAAAAWWIhAS/7P/CVf8CjvLtt9UUn/YI5ap3vy563lyxNXgNinKPrk79B1gITXs=";
const SAMPLE_SIZE = 64;
const SAMPLE_COLOUR = [30, 200, 30];
const NEAR = 6;

/**
 * Tell whether this browser can (WebCodecs is there in secure contexts only, and H.264 not in every browser), and whether
 * it shows the colours that are sent.
 */
export function takesVideo() {
  const soon = new Promise((done) => setTimeout(() => done(false), ANSWER_MS));
  return Promise.race([isSupported(), soon]);
}

async function isSupported() {
  try {
    return (await VideoDecoder.isConfigSupported(PROBED)).supported === true && (await showsColours());
  } catch {
    return false;
  }
}

export class Video {
  #stream = null;

  /** Resolve to the VideoFrame of a Video command; whoever gets it closes it. */
  async decode({ codec, begins, key, chunk }) {
    if (codec !== H264_ANNEX_B) throw new Error(`no decoder for codec ${codec}`);
    if (begins) {
      this.#stream?.end();
      this.#stream = new Stream(chunk);
    }
    if (this.#stream === null) throw new Error("the stream has not begun");
    return this.#stream.decode(key ? "key" : "delta", chunk);
  }

  /** Forget the stream; a new connection begins. */
  reset() {
    this.#stream?.end();
    this.#stream = null;
  }
}

async function showsColours() {
  const video = new Video();
  const chunk = Uint8Array.from(atob(SAMPLE), (byte) => byte.charCodeAt(0));
  const frame = await video.decode({ codec: H264_ANNEX_B, begins: true, key: true, chunk });
  const canvas = new OffscreenCanvas(SAMPLE_SIZE, SAMPLE_SIZE).getContext("2d");
  canvas.drawImage(frame, 0, 0);
  frame.close();
  video.reset();
  const shown = canvas.getImageData(SAMPLE_SIZE / 2, SAMPLE_SIZE / 2, 1, 1).data;
  return SAMPLE_COLOUR.every((part, n) => Math.abs(part - shown[n]) <= NEAR);
}

class Stream {
  #decoder;
  #waiting = []; // { done, failed, timer } of each chunk in the decoder, in order
  #count = 0;

  constructor(chunk) {
    this.#decoder = new VideoDecoder({ output: (frame) => this.#out(frame), error: (error) => this.#fail(error) });
    this.#decoder.configure({ codec: codecOf(chunk), optimizeForLatency: true });
  }

  decode(type, data) {
    return new Promise((done, failed) => {
      const timer = setTimeout(() => this.#fail(new Error("the decoder is stuck")), STUCK_MS);
      this.#waiting.push({ done, failed, timer });
      try {
        this.#decoder.decode(new EncodedVideoChunk({ type, data, timestamp: this.#count++ }));
      } catch (error) {
        this.#fail(error);
      }
    });
  }

  /** Part from the decoder once what it has is out. */
  end() {
    if (this.#decoder.state !== "configured") return;
    this.#decoder.flush().then(
      () => this.#fail(new Error("the stream has ended")),
      () => {},
    );
  }

  #out(frame) {
    const first = this.#waiting.shift();
    if (!first) return frame.close();
    clearTimeout(first.timer);
    return first.done(frame);
  }

  #fail(error) {
    if (this.#decoder.state !== "closed") this.#decoder.close();
    for (const { failed, timer } of this.#waiting.splice(0)) {
      clearTimeout(timer);
      failed(error);
    }
  }
}

/** The codec's name as browsers have it: three bytes of the sequence parameter set (H.264, 7.3.2.1.1) in hexadecimal. */
function codecOf(chunk) {
  for (let at = 0; at + 6 < chunk.length; at += 1) {
    if (chunk[at] || chunk[at + 1] || chunk[at + 2] !== 1 || (chunk[at + 3] & 31) !== 7) continue;
    return `avc1.${Array.from(chunk.subarray(at + 4, at + 7), (byte) => byte.toString(16).padStart(2, "0")).join("")}`;
  }
  throw new Error("the stream begins without its parameters");
}
