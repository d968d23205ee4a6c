"use strict";
// Draws a figure with plotly.js, in the colours of the page.
const plots = (() => {
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const config = { displaylogo: false, showSendToCloud: false, showEditInChartStudio: false, plotlyServerURL: "", displayModeBar: matchMedia("(max-width: 600px)").matches ? false : "hover" };
  const drawn = new Map();

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

  // a figure that cannot be drawn says so, and the words below it still tell what it shows
  const draw = async (plot, figure, then = () => {}) => {
    try {
      plot.textContent = "";
      await Plotly.newPlot(plot, figure.data, themed(figure), config);
      await then(plot, figure);
      drawn.set(plot, figure);
      plot.dataset.drawn = "yes";
    } catch (error) {
      plot.style.height = "auto";
      plot.textContent = `This figure could not be drawn: ${error.message ?? error}`;
    }
  };

  addEventListener("resize", () => drawn.forEach((_, plot) => {
    if (plot.clientWidth) Plotly.relayout(plot, { width: plot.clientWidth });
  }));
  dark.addEventListener("change", () => drawn.forEach((figure, plot) => {
    Plotly.react(plot, figure.data, themed(figure), config);
  }));
  return { draw, forget: (plot) => drawn.delete(plot) };
})();
