"use strict";
// Draws the figures of a report: each one live, and once more as a picture, which is printed.
(async () => {
  const plots = [...document.querySelectorAll("figure.plot .live")];
  const figures = plots.map((plot) => JSON.parse(plot.textContent));
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const config = { displaylogo: false, showSendToCloud: false, showEditInChartStudio: false, plotlyServerURL: "" };

  // base 85 as Python's b85encode writes it, with "." and "," for "<" and "&"; then zlib
  const unpack = async (text) => {
    const letters = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz!#$%,()*+-;.=>?@^_`{|}~";
    const value = new Uint8Array(128);
    [...letters].forEach((letter, n) => { value[letter.charCodeAt(0)] = n; });
    const missing = (5 - (text.length % 5)) % 5;
    const padded = text + "~".repeat(missing);
    const bytes = new DataView(new ArrayBuffer((padded.length / 5) * 4));
    for (let at = 0, word = 0; at < padded.length; at += 5, word += 4) {
      let sum = 0;
      for (let n = 0; n < 5; n += 1) sum = sum * 85 + value[padded.charCodeAt(at + n)];
      bytes.setUint32(word, sum);
    }
    const packed = new Blob([bytes.buffer.slice(0, bytes.byteLength - missing)]);
    return new Response(packed.stream().pipeThrough(new DecompressionStream("deflate"))).text();
  };

  const themed = (figure) => {
    const layout = { ...figure.layout, autosize: true };
    delete layout.width;
    if (!dark.matches) return layout;
    const axis = { gridcolor: "#3d444d", linecolor: "#9da7b3", zerolinecolor: "#9da7b3" };
    const font = { ...layout.font, color: "#e6edf3" };
    const light = layout.template?.layout ?? {};
    const template = {
      ...layout.template,
      layout: { ...light, xaxis: { ...light.xaxis, ...axis }, yaxis: { ...light.yaxis, ...axis } },
    };
    return { ...layout, template, font, paper_bgcolor: "#0d1117", plot_bgcolor: "#161b22" };
  };

  const draw = async (plot, figure) => {
    try {
      plot.textContent = "";
      await Plotly.newPlot(plot, figure.data, themed(figure), config);
      const size = { format: "svg", width: 680, height: figure.layout.height };
      const still = new Image();
      still.className = "still";
      still.alt = "";
      still.src = await Plotly.toImage({ data: figure.data, layout: { ...figure.layout, width: 680 } }, size);
      plot.after(still);
      plot.dataset.drawn = "yes";
    } catch (error) {
      plot.style.height = "auto";
      plot.textContent = `This figure could not be drawn: ${error.message ?? error}`;
    }
  };

  try {
    const library = document.createElement("script");
    library.textContent = await unpack(document.getElementById("plotly").textContent.trim());
    document.head.append(library);
  } catch (error) {
    plots.forEach((plot) => { plot.style.height = "auto"; plot.textContent = "This browser is too old to draw figures: the words below say what they show."; });
    return;
  }
  for (let n = 0; n < plots.length; n += 1) await draw(plots[n], figures[n]);
  addEventListener("resize", () => plots.forEach((plot) => {
    if (plot.dataset.drawn && plot.clientWidth) Plotly.relayout(plot, { width: plot.clientWidth });
  }));
  dark.addEventListener("change", () => plots.forEach((plot, n) => {
    if (plot.dataset.drawn) Plotly.react(plot, figures[n].data, themed(figures[n]), config);
  }));
  document.documentElement.dataset.ready = "yes";
})();
