"""Opens a report of `lazypull experiment report` in headless Chromium, as a reader would: clicks, keys, both colour
schemes. Prints as JSON what it saw; ends with a message where something is not as it must be.

    experiment_browser.py PAGE.html FOLDER

Chromium is spoken to over its DevTools pipe. Screenshots go to FOLDER."""

import base64
import fcntl
import json
import os
import pathlib
import select
import struct
import subprocess
import sys
import time
import zlib


def fail(message):
    sys.exit(f"{sys.argv[1]}: {message}")


class Browser:
    """One page of a Chromium that has just been started."""

    def __init__(self, folder):
        commands, self.to_browser = os.pipe()
        self.from_browser, answers = os.pipe()
        # Chromium reads from 3 and writes to 4.
        commands, answers = (fcntl.fcntl(end, fcntl.F_DUPFD_CLOEXEC, 20) for end in (commands, answers))

        def place():
            os.dup2(commands, 3)
            os.dup2(answers, 4)

        self.log = open(folder / "chromium.log", "wb")
        self.process = subprocess.Popen(
            ["chromium", "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
             "--remote-debugging-pipe", f"--user-data-dir={folder}/profile", "--no-first-run",
             "--disable-background-networking", "--window-size=1300,900", "about:blank"],
            stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log, close_fds=False, preexec_fn=place)
        os.close(commands)
        os.close(answers)
        self.pending, self.last_id, self.events = b"", 0, []
        target = self.call("Target.createTarget", {"url": "about:blank"})["targetId"]
        self.session = None
        self.session = self.call("Target.attachToTarget", {"targetId": target, "flatten": True})["sessionId"]

    def receive(self, deadline):
        while b"\0" not in self.pending:
            ready, _, _ = select.select([self.from_browser], [], [], max(0, deadline - time.monotonic()))
            if not ready:
                fail("Chromium does not answer")
            data = os.read(self.from_browser, 1 << 20)
            if not data:
                fail("Chromium has ended")
            self.pending += data
        message, self.pending = self.pending.split(b"\0", 1)
        return json.loads(message)

    def call(self, method, parameters=None):
        self.last_id += 1
        message = {"id": self.last_id, "method": method, "params": parameters or {}}
        if getattr(self, "session", None):
            message["sessionId"] = self.session
        os.write(self.to_browser, json.dumps(message).encode() + b"\0")
        deadline = time.monotonic() + 60
        while True:
            answer = self.receive(deadline)
            if answer.get("id") == self.last_id:
                if "error" in answer:
                    fail(f"{method}: {answer['error']}")
                return answer["result"]
            self.events.append(answer)

    def run(self, expression):
        """The value of an expression of the page, as JSON."""
        result = self.call("Runtime.evaluate", {"expression": expression, "returnByValue": True, "awaitPromise": True})
        if "exceptionDetails" in result:
            fail(f"{expression[:80]}: {result['exceptionDetails']['exception'].get('description')}")
        return result["result"].get("value")

    def open(self, page):
        for domain in ("Page", "Runtime", "Network", "Log"):
            self.call(f"{domain}.enable")
        self.call("Page.navigate", {"url": pathlib.Path(page).resolve().as_uri()})
        deadline = time.monotonic() + 30
        while self.run("document.documentElement?.dataset.ready") != "true":
            if time.monotonic() > deadline:
                fail(f"the page does not get ready: {self.complaints()}")
            time.sleep(0.05)

    def complaints(self):
        """Errors of scripts and what the content security policy has refused."""
        found = [event["params"] for event in self.events if event.get("method") == "Runtime.exceptionThrown"]
        found += [event["params"]["entry"]["text"] for event in self.events if event.get("method") == "Log.entryAdded"
                  and event["params"]["entry"]["level"] == "error"]
        return found

    def requests(self):
        return [event["params"]["request"]["url"] for event in self.events
                if event.get("method") == "Network.requestWillBeSent"]

    def click(self, selector, index=0):
        """With the mouse, in the middle of an element that is scrolled to before."""
        box = self.run(f"""(() => {{ const e = document.querySelectorAll({json.dumps(selector)})[{index}];
            if (!e) return null; e.scrollIntoView({{block: "center"}}); const b = e.getBoundingClientRect();
            return [b.x + b.width / 2, b.y + b.height / 2]; }})()""")
        if box is None:
            fail(f"there is no {selector} [{index}]")
        for kind in ("mousePressed", "mouseReleased"):
            self.call("Input.dispatchMouseEvent", {"type": kind, "x": box[0], "y": box[1], "button": "left",
                                                   "clickCount": 1})

    def press(self, key, code):
        for kind in ("keyDown", "keyUp"):
            self.call("Input.dispatchKeyEvent", {"type": kind, "key": key, "code": key, "windowsVirtualKeyCode": code})

    def choose(self, selector, value):
        """As a reader does: the list gets the focus, and its value changes."""
        chosen = self.run(f"""(() => {{ const s = document.querySelector({json.dumps(selector)});
            s.focus(); s.value = {json.dumps(value)}; s.dispatchEvent(new Event("change", {{bubbles: true}}));
            return s.value; }})()""")
        if chosen != value:
            fail(f"{selector} does not offer {value}")

    def options(self, selector):
        return self.run(f"[...document.querySelectorAll({json.dumps(selector + ' option')})].map(o => o.value)")

    def scheme(self, name):
        self.call("Emulation.setEmulatedMedia", {"features": [{"name": "prefers-color-scheme", "value": name}]})

    def screenshot(self, file):
        picture = self.call("Page.captureScreenshot", {"format": "png", "captureBeyondViewport": True,
                                                       "clip": self.whole_page()})["data"]
        data = base64.b64decode(picture)
        file.write_bytes(data)
        return Picture(data)

    def whole_page(self):
        size = self.call("Page.getLayoutMetrics")["cssContentSize"]
        return {"x": 0, "y": 0, "width": size["width"], "height": min(size["height"], 6000), "scale": 0.5}

    def close(self):
        self.process.terminate()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


class Picture:
    """The pixels of a PNG file with 8 bits a channel, as Chromium writes them."""

    def __init__(self, data):
        position, packed = 8, b""
        while position < len(data):
            length, kind = struct.unpack(">I4s", data[position:position + 8])
            body = data[position + 8:position + 8 + length]
            if kind == b"IHDR":
                self.width, self.height, depth, colour = struct.unpack(">IIBB", body[:10])
                if depth != 8 or colour not in (2, 6):
                    fail("the screenshot is of an unknown kind")
                self.channels = 3 if colour == 2 else 4
            elif kind == b"IDAT":
                packed += body
            position += 12 + length
        self.lines = self.unfilter(zlib.decompress(packed))

    def unfilter(self, raw):
        size, step, lines = self.width * self.channels, self.channels, []
        before = bytearray(size)
        for row in range(self.height):
            start = row * (size + 1)
            kind, line = raw[start], bytearray(raw[start + 1:start + 1 + size])
            if kind == 1:
                for i in range(step, size):
                    line[i] = (line[i] + line[i - step]) & 255
            elif kind == 2:
                for i in range(size):
                    line[i] = (line[i] + before[i]) & 255
            elif kind == 3:
                for i in range(size):
                    line[i] = (line[i] + ((line[i - step] if i >= step else 0) + before[i]) // 2) & 255
            elif kind == 4:
                for i in range(size):
                    a, b, c = (line[i - step] if i >= step else 0), before[i], (before[i - step] if i >= step else 0)
                    p = a + b - c
                    pa, pb, pc = abs(p - a), abs(p - b), abs(p - c)
                    line[i] = (line[i] + (a if pa <= pb and pa <= pc else b if pb <= pc else c)) & 255
            lines.append(line)
            before = line
        return lines

    def colours(self):
        """How often each colour is there, among every third pixel of every third line."""
        counts = {}
        for line in self.lines[::3]:
            for x in range(0, self.width, 3):
                pixel = tuple(line[x * self.channels:x * self.channels + 3])
                counts[pixel] = counts.get(pixel, 0) + 1
        return counts

    def describe(self):
        counts = self.colours()
        total = sum(counts.values())
        background, most = max(counts.items(), key=lambda item: item[1])
        return {"width": self.width, "height": self.height, "colours": len(counts),
                "background": list(background), "background_share": most / total}


TABLE = """[...document.querySelectorAll("#%s tbody tr")].map(line => ({
  config: Number(line.dataset.config),
  cells: [...line.children].map(cell => cell.textContent),
  values: Object.fromEntries([...line.querySelectorAll("[data-key]")].map(c => [c.dataset.key, Number(c.dataset.value)])),
  interval: [...line.querySelectorAll("[data-low]")].map(c => [c.dataset.low, c.dataset.high, c.dataset.confidence].map(Number))[0],
}))"""

BARS = """[...document.querySelectorAll("#phases rect.bar")].map(bar => ({config: Number(bar.dataset.config),
  phase: bar.dataset.phase, value: Number(bar.dataset.value), width: bar.getBoundingClientRect().width}))"""

# Elements whose text has too little contrast to what is behind it (WCAG 2.1, AA: 4.5 to 1).
CONTRAST = """(() => {
  const parse = text => text.match(/[\\d.]+/g).map(Number);
  const part = v => { v /= 255; return v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4; };
  const light = ([r, g, b]) => 0.2126 * part(r) + 0.7152 * part(g) + 0.0722 * part(b);
  const behind = e => { for (; e; e = e.parentElement) { const c = parse(getComputedStyle(e).backgroundColor);
    if (c.length < 4 || c[3] > 0) return c; } return [255, 255, 255]; };
  const bad = [];
  for (const e of document.querySelectorAll("h1,h2,h3,p,td,th,label,a:not(.skip),li,caption,summary,select,svg text")) {
    if (!e.textContent.trim()) continue;
    const style = getComputedStyle(e), front = parse(e instanceof SVGElement ? style.fill : style.color);
    const [a, b] = [light(front), light(behind(e))].sort((x, y) => y - x);
    if ((a + 0.05) / (b + 0.05) < 4.5) bad.push(`${e.tagName} "${e.textContent.trim().slice(0, 30)}"`);
  }
  return bad;
})()"""

# What a reader without a mouse or without sight needs.
ACCESSIBLE = """(() => {
  const bad = [];
  for (const s of document.querySelectorAll("select")) if (!s.closest("label")) bad.push(`select #${s.id} has no label`);
  for (const s of document.querySelectorAll("svg")) if (!s.getAttribute("aria-label")) bad.push("a chart has no label");
  for (const s of document.querySelectorAll("section")) {
    const id = s.getAttribute("aria-labelledby");
    if (!id || !document.getElementById(id)) bad.push(`section #${s.id} has no heading`);
  }
  for (const t of document.querySelectorAll("thead th")) if (!t.scope) bad.push("a heading of a table has no scope");
  for (const b of document.querySelectorAll('[role="button"]')) {
    if (b.tabIndex < 0 || !b.getAttribute("aria-label")) bad.push("a bar cannot be reached or has no name");
  }
  if (!document.documentElement.lang || !document.title) bad.push("language or title is missing");
  return bad;
})()"""


def look(browser, folder):
    seen = {"metrics": {}, "phases": browser.run(BARS)}
    for metric in browser.options("#metric"):
        browser.choose("#metric", metric)
        seen["metrics"][metric] = {"medians": browser.run(TABLE % "medians"), "ratios": browser.run(TABLE % "ratios"),
                                   "steps": browser.run('document.querySelectorAll("#cdf path.step").length')}
    browser.choose("#metric", browser.options("#metric")[0])
    seen["baselines"] = {}
    for baseline in browser.options("#baseline"):
        browser.choose("#baseline", baseline)
        seen["baselines"][baseline] = browser.run(TABLE % "ratios")
    seen["images"] = {}
    for image in browser.options("#image"):
        browser.choose("#image", image)
        seen["images"][image] = browser.run(TABLE % "medians")
    browser.choose("#image", browser.options("#image")[0])

    # The mouse: the phases as a table, and the bars of the waterfall.
    closed = browser.run('document.querySelector("#phases details").open')
    browser.click("#phases summary")
    seen["details"] = [closed, browser.run('document.querySelector("#phases details").open')]
    seen["runs"] = len(browser.options("#run"))
    for run in browser.options("#run")[:2]:
        browser.choose("#run", run)
        browser.click("#waterfall rect.bar", 0)
        seen.setdefault("waterfall", []).append(browser.run(
            '({bars: document.querySelectorAll("#waterfall rect.bar").length,'
            ' text: document.querySelector("#waterfall .detail").textContent})'))
    # The keyboard: from that bar to the next one.
    browser.press("Tab", 9)
    seen["after_tab"] = browser.run('document.querySelector("#waterfall .detail").textContent')
    seen["download"] = browser.run('decodeURIComponent(document.querySelector("#download").href)')
    seen["text"] = browser.run("document.body.innerText")
    seen["inaccessible"] = browser.run(ACCESSIBLE)
    for scheme in ("light", "dark"):
        browser.scheme(scheme)
        seen[scheme] = browser.screenshot(folder / f"{scheme}.png").describe()
        seen[scheme]["low_contrast"] = browser.run(CONTRAST)
    seen["complaints"] = browser.complaints()
    seen["requests"] = browser.requests()
    return seen


def main():
    page, folder = sys.argv[1], pathlib.Path(sys.argv[2])
    browser = Browser(folder)
    try:
        browser.open(page)
        print(json.dumps(look(browser, folder)))
    finally:
        browser.close()


if __name__ == "__main__":
    main()
