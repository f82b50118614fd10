// A stand-in, for Node, of what guest.js uses of macOS: `osascript -l JavaScript -e PROGRAM` becomes `node mac.js -e PROGRAM`.
// The JavaScript bridge as Apple's "JavaScript for Automation Release Notes" describes it (methods without arguments are
// properties, `js` unwraps, `isNil()` tells a nil), the classes as AppKit's and Foundation's references do. No more of
// either than is used; what is not here throws, so that a misspelt name does not pass.
//
// Other programs on the "Mac" use the socket named by MAC_PASTEBOARD: a line of JSON [[{type: base64}, ...]] copies these
// items, a line "null" asks for what there is. The pasteboard is that of this process: a new one begins empty.
"use strict";
const fs = require("node:fs");
const net = require("node:net");
const vm = require("node:vm");

const strict = (target) =>
  new Proxy(target, {
    get(object, name) {
      if (name in object || typeof name === "symbol") return object[name];
      throw new Error(`the stand-in has no ${String(name)}`);
    },
    set() {
      throw new Error("read only");
    },
  });

const nil = { isNil: () => true, js: undefined };

function data(bytes) {
  return strict({
    bytes,
    isNil: () => false,
    get length() {
      return bytes.length;
    },
    isEqualToData: (other) => bytes.equals(other.bytes),
    subdataWithRange: ({ location, length }) => {
      if (location + length > bytes.length) throw new Error("NSRangeException");
      return data(bytes.subarray(location, location + length));
    },
  });
}

function mutableData() {
  const held = { bytes: Buffer.alloc(0) };
  return strict({
    get bytes() {
      return held.bytes;
    },
    isNil: () => false,
    get length() {
      return held.bytes.length;
    },
    appendData: (more) => {
      held.bytes = Buffer.concat([held.bytes, more.bytes]);
    },
  });
}

function string(text) {
  return strict({
    js: text,
    isNil: () => false,
    dataUsingEncoding: (encoding) => {
      if (encoding !== 4) throw new Error(`encoding ${encoding}`);
      return data(Buffer.from(text, "utf8"));
    },
  });
}

function array(values) {
  return strict({ values, isNil: () => false, count: values.length, objectAtIndex: (at) => values[at] });
}

// A string argument may be JavaScript's own or an NSString.
const plain = (text) => (typeof text === "string" ? text : text.js);

function pasteboardItem(types = new Map()) {
  return strict({
    map: types,
    isNil: () => false,
    setDataForType: (value, type) => Boolean(types.set(type, value.bytes)),
    setStringForType: (value, type) => Boolean(types.set(type, Buffer.from(plain(value)))),
    stringForType: (type) => (types.has(type) ? string(types.get(type).toString()) : nil),
  });
}

const general = { items: [], changeCount: 1 };
const board = strict({
  get changeCount() {
    return general.changeCount;
  },
  get types() {
    return array([...new Set(general.items.flatMap((item) => [...item.map.keys()]))]);
  },
  get pasteboardItems() {
    return array(general.items);
  },
  dataForType: (type) => {
    const item = general.items.find((one) => one.map.has(type));
    return item ? data(item.map.get(type)) : nil;
  },
  prepareForNewContentsWithOptions: (options) => {
    if (options !== 1) throw new Error("not for this Mac alone");
    general.items = [];
    return ++general.changeCount;
  },
  writeObjects: (items) => {
    general.items = items.values;
    return true;
  },
});

const observers = [];
const INPUT = {};
let first = Buffer.alloc(0); // what waiting for data has read already
const input = strict({
  token: INPUT,
  get waitForDataInBackgroundAndNotify() {
    if (first.length > 0) {
      setImmediate(notify);
      return;
    }
    const chunk = Buffer.alloc(1);
    fs.read(0, chunk, 0, 1, null, (error, size) => {
      if (error && error.code === "EAGAIN") return setTimeout(() => input.waitForDataInBackgroundAndNotify, 1);
      first = chunk.subarray(0, size || 0);
      notify();
    });
  },
  readDataOfLength: (size) => {
    const all = Buffer.alloc(size);
    let have = first.copy(all, 0, 0, size);
    first = first.subarray(have);
    while (have < size) {
      let got = 0;
      try {
        got = fs.readSync(0, all, have, size - have, null);
      } catch (error) {
        if (error.code !== "EAGAIN") throw error;
        Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 1);
        continue;
      }
      if (got === 0) break;
      have += got;
    }
    return data(all.subarray(0, have));
  },
});
const output = strict({
  writeData: ({ bytes }) => {
    for (let at = 0; at < bytes.length; ) {
      try {
        at += fs.writeSync(1, bytes, at);
      } catch (error) {
        if (error.code !== "EAGAIN") process.exit(0);
        Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 1);
      }
    }
  },
});

function notify() {
  for (const [observer, selector, object] of observers) if (object === input) observer[selector]();
}

function allocated(make) {
  return strict({ get alloc() { return strict(make); } });
}

const classes = {
  NSUTF8StringEncoding: 4,
  NSFileHandleDataAvailableNotification: "NSFileHandleDataAvailableNotification",
  NSPasteboard: strict({ generalPasteboard: board }),
  NSPasteboardItem: allocated({ get init() { return pasteboardItem(); } }),
  NSFileHandle: strict({ fileHandleWithStandardInput: input, fileHandleWithStandardOutput: output }),
  NSMutableData: allocated({ get init() { return mutableData(); } }),
  NSString: allocated({
    initWithDataEncoding: (from, encoding) => {
      if (encoding !== 4) throw new Error(`encoding ${encoding}`);
      return string(new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(from.bytes));
    },
  }),
  NSURL: strict({
    URLWithString: (text) =>
      strict({
        // file:///.file/id=NAME stands for /Users/ann/NAME here.
        get filePathURL() {
          const url = plain(text).replace("/.file/id=", "/Users/ann/");
          return strict({ isNil: () => false, absoluteString: string(url) });
        },
      }),
  }),
  NSProcessInfo: strict({
    processInfo: strict({
      environment: strict({ objectForKey: (name) => (name in process.env ? string(process.env[name]) : nil) }),
    }),
  }),
  NSTimer: strict({
    scheduledTimerWithTimeIntervalTargetSelectorUserInfoRepeats: (seconds, target, selector, info, repeats) => {
      if (!repeats) throw new Error("repeats");
      setInterval(() => target[selector](), seconds * 1000);
    },
  }),
  NSNotificationCenter: strict({
    defaultCenter: strict({
      addObserverSelectorNameObject: (observer, selector, name, object) => {
        if (name !== classes.NSFileHandleDataAvailableNotification) throw new Error(name);
        observers.push([observer, selector, object]);
      },
    }),
  }),
  // Node's own loop takes over when the program has ended.
  NSRunLoop: strict({ currentRunLoop: strict({ get run() { return undefined; } }) }),
  exit: (status) => process.exit(status),
};

const dollar = new Proxy(
  (value) => (value === undefined ? nil : Array.isArray(value) ? array(value) : string(value)),
  {
    get(_, name) {
      if (name in classes) return classes[name];
      throw new Error(`the stand-in has no $.${String(name)}`);
    },
  },
);

const ObjC = strict({
  import: (framework) => {
    if (!["AppKit", "stdlib"].includes(framework)) throw new Error(framework);
  },
  deepUnwrap: (wrapped) => wrapped.values,
  registerSubclass: ({ name, methods }) => {
    const bound = {};
    for (const [selector, { types, implementation }] of Object.entries(methods)) {
      if (JSON.stringify(types) !== '["void",["id"]]') throw new Error("types");
      bound[selector] = implementation;
    }
    classes[name] = allocated({ get init() { return strict(bound); } });
  },
});

if (process.env.MAC_PASTEBOARD) {
  fs.rmSync(process.env.MAC_PASTEBOARD, { force: true });
  const server = net.createServer((client) => {
    let said = [];
    client.on("error", () => {});
    client.on("data", (chunk) => {
      said.push(chunk);
      if (chunk.includes(10)) {
        // One question at a time: a line end is the end.
        const wanted = JSON.parse(Buffer.concat(said));
        said = [];
        if (wanted !== null) {
          general.items = wanted.map((item) =>
            pasteboardItem(new Map(Object.entries(item).map(([type, value]) => [type, Buffer.from(value, "base64")]))),
          );
          general.changeCount++;
        }
        const told = general.items.map((item) =>
          Object.fromEntries([...item.map].map(([type, value]) => [type, value.toString("base64")])),
        );
        client.write(JSON.stringify(told) + "\n");
      }
    });
  });
  server.listen(process.env.MAC_PASTEBOARD);
}

if (process.argv[2] !== "-l" || process.argv[3] !== "JavaScript" || process.argv[4] !== "-e") throw new Error("arguments");
vm.runInNewContext(process.argv[5], { ObjC, $: dollar });
