"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const $ = selector => document.querySelector(selector);
  const all = "all";
  const colour = index => `var(--c${index % 8})`;

  function element(name, attributes = {}, ...children) {
    const made = document.createElement(name);
    for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
    made.append(...children);
    return made;
  }
  function shape(name, attributes = {}, text) {
    const made = document.createElementNS("http://www.w3.org/2000/svg", name);
    for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
    if (text !== undefined) made.textContent = text;
    return made;
  }

  // ---- figures -------------------------------------------------------------------------------------------
  const sorted = values => values.slice().sort((a, b) => a - b);
  function median(values) {
    const line = sorted(values), half = line.length >> 1;
    return line.length % 2 ? line[half] : (line[half - 1] + line[half]) / 2;
  }
  /** The median and its confidence interval, by the ranks that the report brings for each number of values. */
  function summary(values) {
    const line = sorted(values), [low, high, confidence] = data.ranks[line.length];
    return {count: line.length, median: median(line), low: line[low - 1], high: line[high - 1], confidence};
  }

  const significant = value => {
    if (value === 0) return "0";
    const digits = Math.max(0, 2 - Math.floor(Math.log10(Math.abs(value))));
    return value.toFixed(Math.min(digits, 3));
  };
  function format(value, unit) {
    if (unit === "ms") return value >= 1000 ? `${significant(value / 1000)} s` : `${significant(value)} ms`;
    if (unit === "bytes") {
      for (const [size, name] of [[2 ** 30, "GiB"], [2 ** 20, "MiB"], [2 ** 10, "KiB"]]) {
        if (value >= size) return `${significant(value / size)} ${name}`;
      }
      return `${value} B`;
    }
    return unit === "s" ? `${significant(value)} s` : significant(value);
  }
  const interval = (s, unit) => `${format(s.low, unit)} – ${format(s.high, unit)}` +
    (s.confidence < 0.95 ? ` (${(100 * s.confidence).toFixed(0)} %)` : "");

  // ---- what is chosen --------------------------------------------------------------------------------------
  const way = config => [config.puller, config.snapshotter, config.unpack].filter(w => w !== "-").join(" · ");
  const place = config => [config.image, config.network, config.cache].join(" · ");
  const distinct = values => [...new Set(values)];
  data.configs.forEach((config, index) => {
    config.index = index;
    config.rows = data.rows.filter(row => row.c === index);
    config.way = way(config);
    config.place = place(config);
  });
  const ways = distinct(data.configs.map(config => config.way));
  const metric = () => data.metrics.find(m => m.key === $("#metric").value);
  const values = (config, key) => config.rows.map(row => row.m[key]).filter(value => value !== undefined);
  const chosen = axis => {
    const value = $("#" + axis).value;
    return config => value === all || config[axis] === value;
  };
  const shown = () => ["image", "network", "cache"].reduce((list, axis) => list.filter(chosen(axis)), data.configs)
    .filter(config => config.rows.length > 0);

  function fill(select, options, first) {
    for (const [value, text] of options) select.append(element("option", {value}, text));
    if (first !== undefined) select.value = first;
    select.addEventListener("change", draw);
  }

  // ---- tables ----------------------------------------------------------------------------------------------
  function head(table, names) {
    const line = element("tr");
    for (const [name, number] of names) {
      line.append(element("th", number ? {scope: "col", class: "number"} : {scope: "col"}, name));
    }
    table.querySelector("thead").replaceChildren(line);
  }
  const number = (text, key, value, kind = "") =>
    element("td", {class: `number ${kind}`, "data-key": key, "data-value": String(value)}, text);

  function drawMedians() {
    const table = $("#medians table"), {key, label, unit} = metric();
    table.querySelector("caption").textContent = label;
    head(table, [["Image"], ["Network"], ["Cache"], ["Way to pull"], ["Runs", 1], ["Median", 1], ["Interval", 1]]);
    const lines = [];
    for (const config of shown()) {
      const found = values(config, key);
      if (!found.length) continue;
      const s = summary(found);
      lines.push(element("tr", {"data-config": config.index}, element("td", {}, config.image),
        element("td", {}, config.network), element("td", {}, config.cache), element("th", {scope: "row"}, config.way),
        number(String(s.count), "count", s.count), number(format(s.median, unit), "median", s.median),
        element("td", {class: "number", "data-low": s.low, "data-high": s.high, "data-confidence": s.confidence},
          interval(s, unit))));
    }
    table.querySelector("tbody").replaceChildren(...lines);
  }

  /** Ratios of the runs that belong to the same repetition. */
  function ratios(config, base, key) {
    const of = new Map(base.rows.map(row => [row.r, row.m[key]]));
    return config.rows.filter(row => row.m[key] !== undefined && of.get(row.r) > 0)
      .map(row => row.m[key] / of.get(row.r));
  }

  function drawRatios() {
    const table = $("#ratios table"), {key, label} = metric(), baseline = $("#baseline").value;
    table.querySelector("caption").textContent = `${label}, relative to ${baseline}`;
    head(table, [["Image"], ["Network"], ["Cache"], ["Way to pull"], ["Pairs", 1], ["Ratio", 1], ["Interval", 1]]);
    const lines = [];
    for (const config of shown()) {
      const base = data.configs.find(other => other.place === config.place && other.way === baseline);
      if (!base || base === config) continue;
      const found = ratios(config, base, key);
      if (!found.length) continue;
      const s = summary(found);
      const kind = s.high < 1 ? "less" : s.low > 1 ? "more" : "";
      lines.push(element("tr", {"data-config": config.index}, element("td", {}, config.image),
        element("td", {}, config.network), element("td", {}, config.cache), element("th", {scope: "row"}, config.way),
        number(String(s.count), "count", s.count), number(s.median.toFixed(3), "ratio", s.median, kind),
        element("td", {class: "number", "data-low": s.low, "data-high": s.high, "data-confidence": s.confidence},
          interval(s, ""))));
    }
    table.querySelector("tbody").replaceChildren(...lines);
  }

  // ---- charts ----------------------------------------------------------------------------------------------
  /** Round steps from 0 up to at least `most`. */
  function ticks(most) {
    if (!(most > 0)) return [0, 1];
    const rough = most / 6, power = 10 ** Math.floor(Math.log10(rough));
    const step = [1, 2, 5, 10].map(f => f * power).find(s => s >= rough);
    const made = [];
    for (let i = 0; i * step < most + step; ++i) made.push(i * step);
    return made;
  }
  function axis(svg, marks, left, width, top, bottom, unit) {
    for (const mark of marks) {
      const x = left + width * mark / marks[marks.length - 1];
      svg.append(shape("line", {class: "grid", x1: x, x2: x, y1: top, y2: bottom}));
      svg.append(shape("text", {class: "soft", x, y: bottom + 16, "text-anchor": "middle"}, format(mark, unit)));
    }
  }
  function canvas(chart, width, height, label) {
    const svg = shape("svg", {viewBox: `0 0 ${width} ${height}`, width, height, role: "img", "aria-label": label});
    chart.replaceChildren(svg);
    return svg;
  }
  const nothing = chart => chart.replaceChildren(element("p", {class: "note"}, "Nothing was measured here."));
  function legend(where, entries) {
    where.replaceChildren(...entries.map(([name, fillWith]) =>
      element("span", {}, element("i", {style: `background:${fillWith}`, "aria-hidden": "true"}), name)));
  }

  // Those of the pull first, whoever pulls; then those of the container, which all have.
  const last = ["create and start", "to the first line", "to readiness"];
  const found = distinct(data.rows.flatMap(row => row.p.map(phase => phase[0])));
  const phaseNames = [...found.filter(name => !last.includes(name)), ...last.filter(name => found.includes(name))];
  const phaseMedian = (config, name) => {
    const found = config.rows.map(row => row.p.filter(p => p[0] === name).reduce((sum, p) => sum + p[1], 0));
    return median(found);
  };

  function drawPhases() {
    const chart = $("#phases .chart"), configs = shown();
    const bars = configs.map(config => ({config, parts: phaseNames.map(name => [name, phaseMedian(config, name)])}));
    const most = Math.max(0, ...bars.map(bar => bar.parts.reduce((sum, part) => sum + part[1], 0)));
    legend($("#phases .legend"), phaseNames.map((name, index) => [name, colour(index)]));
    if (!bars.length || !phaseNames.length) return nothing(chart);
    const left = 330, width = 720, step = 26, bottom = 10 + step * bars.length, marks = ticks(most);
    const svg = canvas(chart, left + width + 60, bottom + 28, "Stacked bars: median length of each phase");
    axis(svg, marks, left, width, 4, bottom, "ms");
    bars.forEach(({config, parts}, line) => {
      const y = 8 + step * line;
      let x = left;
      const name = distinct(configs.map(other => other.place)).length > 1 ? `${config.place} · ${config.way}` : config.way;
      svg.append(shape("text", {x: left - 8, y: y + 14, "text-anchor": "end"},
        name.length > 52 ? name.slice(0, 51) + "…" : name));
      parts.forEach(([phase, length], index) => {
        const size = width * length / marks[marks.length - 1];
        const bar = shape("rect", {class: "bar", x, y, width: size, height: step - 8, fill: colour(index),
          "data-config": config.index, "data-phase": phase, "data-value": length});
        bar.append(shape("title", {}, `${config.place} · ${config.way}: ${phase} ${format(length, "ms")}`));
        svg.append(bar);
        x += size;
      });
    });
    const table = $("#phases table");
    head(table, [["Where"], ["Way to pull"], ...phaseNames.map(name => [name, 1])]);
    table.querySelector("tbody").replaceChildren(...bars.map(({config, parts}) =>
      element("tr", {"data-config": config.index}, element("td", {}, config.place),
        element("th", {scope: "row"}, config.way),
        ...parts.map(([phase, length]) => number(format(length, "ms"), phase, length)))));
  }

  function drawCdf() {
    const chart = $("#cdf .chart"), {key, unit, label} = metric();
    const lines = shown().map(config => ({config, line: sorted(values(config, key))})).filter(({line}) => line.length);
    const several = distinct(lines.map(({config}) => config.place)).length > 1;
    legend($("#cdf .legend"), lines.map(({config}, index) =>
      [several ? `${config.place} · ${config.way}` : config.way, colour(index)]));
    if (!lines.length) return nothing(chart);
    const left = 50, width = 980, top = 10, height = 300, bottom = top + height;
    const marks = ticks(Math.max(...lines.map(({line}) => line[line.length - 1])));
    const svg = canvas(chart, left + width + 40, bottom + 28, `Cumulative distribution: ${label}`);
    axis(svg, marks, left, width, top, bottom, unit);
    for (const share of [0, 0.25, 0.5, 0.75, 1]) {
      const y = bottom - height * share;
      svg.append(shape("line", {class: "grid", x1: left, x2: left + width, y1: y, y2: y}));
      svg.append(shape("text", {class: "soft", x: left - 6, y: y + 4, "text-anchor": "end"}, `${100 * share} %`));
    }
    const dashes = ["", "7 3", "2 3", "10 3 2 3"];
    lines.forEach(({config, line}, index) => {
      const at = value => left + width * value / marks[marks.length - 1];
      let path = `M${at(line[0])} ${bottom}`;
      line.forEach((value, i) => { path += ` H${at(value)} V${bottom - height * (i + 1) / line.length}`; });
      path += ` H${left + width}`;
      const step = shape("path", {class: "step", d: path, stroke: colour(index), "data-config": config.index,
        "stroke-dasharray": dashes[Math.floor(index / 8) % 4]});
      step.append(shape("title", {}, `${config.place} · ${config.way}`));
      svg.append(step);
    });
  }

  /** The spans of a run, or where there are none its phases, one after another. */
  function bars(row) {
    if (row.s && row.s.length) {
      return row.s.map(([name, category, object, start, length, depth]) => ({name, category, object, start, length, depth}));
    }
    let start = 0;
    return row.p.map(([name, length]) => {
      start += length;
      return {name, category: name, object: "", start: start - length, length, depth: 0};
    });
  }

  function drawRuns() {
    const select = $("#run"), before = select.value, configs = new Set(shown().map(config => config.index));
    const runs = data.rows.map((row, index) => ({row, index})).filter(({row}) => configs.has(row.c));
    select.replaceChildren(...runs.map(({row, index}) => {
      const config = data.configs[row.c];
      return element("option", {value: index}, `${config.place} · ${config.way} #${row.r}`);
    }));
    if (runs.some(({index}) => String(index) === before)) select.value = before;
    drawWaterfall();
  }
  function drawWaterfall() {
    const chart = $("#waterfall .chart"), row = data.rows[Number($("#run").value)];
    if (!row) return nothing(chart);
    const list = bars(row);
    if (!list.length) return nothing(chart);
    const categories = distinct(list.map(bar => bar.category));
    const left = 250, width = 800, step = 18, bottom = 8 + step * list.length;
    const marks = ticks(Math.max(...list.map(bar => bar.start + bar.length)));
    const svg = canvas(chart, left + width + 60, bottom + 28, "Waterfall: when each step began and ended");
    svg.setAttribute("role", "group");
    axis(svg, marks, left, width, 4, bottom, "ms");
    list.forEach((bar, line) => {
      const y = 6 + step * line, scale = width / marks[marks.length - 1];
      const name = `${"  ".repeat(Math.min(bar.depth, 8))}${bar.name}`;
      svg.append(shape("text", {x: 4 + 10 * Math.min(bar.depth, 8), y: y + 12},
        name.trim().slice(0, 36 - Math.min(bar.depth, 8))));
      const text = `${bar.name} ${bar.object} ${format(bar.start, "ms")} + ${format(bar.length, "ms")}`;
      const rect = shape("rect", {class: "bar", x: left + scale * bar.start, y, rx: 2, tabindex: 0, role: "button",
        width: Math.max(1.5, scale * bar.length), height: step - 4, fill: colour(categories.indexOf(bar.category)),
        "aria-label": text, "data-start": bar.start, "data-length": bar.length});
      rect.append(shape("title", {}, text));
      const tell = () => { $("#waterfall .detail").textContent = text; };
      rect.addEventListener("click", tell);
      rect.addEventListener("focus", tell);
      svg.append(rect);
    });
  }

  function drawEnvironment() {
    const lines = data.environment.map(([name, value]) =>
      element("tr", {}, element("th", {scope: "row"}, name), element("td", {}, value)));
    $("#environment tbody").replaceChildren(...lines);
    $("#uncontrolled").replaceChildren(...data.uncontrolled.map(text => element("li", {}, text)));
  }

  function draw() {
    drawMedians();
    drawRatios();
    drawPhases();
    drawCdf();
    drawRuns();
  }

  // ---- start -----------------------------------------------------------------------------------------------
  $("#summary").textContent = data.summary;
  if (data.failures.length) {
    $("#failures").hidden = false;
    $("#failures").textContent = `Runs that failed and are not counted: ${data.failures.join("; ")}`;
  }
  fill($("#metric"), data.metrics.map(m => [m.key, m.label]));
  for (const axisName of ["image", "network", "cache"]) {
    const found = distinct(data.configs.map(config => config[axisName]));
    const options = found.map(value => [value, value]);
    fill($("#" + axisName), found.length > 1 ? [[all, all], ...options] : options);
  }
  fill($("#baseline"), ways.map(w => [w, w]), data.baseline);
  $("#run").addEventListener("change", drawWaterfall);
  $("#download").href = "data:text/csv;charset=utf-8," + encodeURIComponent(data.csv);
  drawEnvironment();
  draw();
  document.documentElement.dataset.ready = "true";
})();
