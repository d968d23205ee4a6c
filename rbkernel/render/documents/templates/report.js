"use strict";
// Draws the figures of a report: each one live, and once more as a picture, which is printed.
(async () => {
  const places = [...document.querySelectorAll("figure.plot .live")];
  const figures = places.map((place) => JSON.parse(place.textContent));

  // plotly.js, packed: the page holds it, or a file that the reports of an incident share
  const packed = async (place) => {
    const file = place.dataset.file;
    if (!file) return place.textContent.trim();
    await new Promise((loaded, failed) => {
      const script = document.createElement("script");
      script.onload = loaded;
      script.onerror = () => failed(new Error(`The figures need the file ${file}, next to the folder of this page. The words below say what they show.`));
      script.src = file;
      document.head.append(script);
    });
    return packedPlotly;
  };

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

  const still = async (place, figure) => {
    const size = { format: "svg", width: 680, height: figure.layout.height };
    const picture = new Image();
    picture.className = "still";
    picture.alt = "";
    picture.src = await Plotly.toImage({ data: figure.data, layout: { ...figure.layout, width: 680 } }, size);
    place.after(picture);
  };

  const cannotDraw = (why) => places.forEach((place) => { place.style.height = "auto"; place.textContent = why; });

  let text = "";
  try {
    text = await packed(document.getElementById("plotly"));
  } catch (error) {
    cannotDraw(error.message);
    return;
  }
  try {
    const library = document.createElement("script");
    library.textContent = await unpack(text);
    document.head.append(library);
  } catch (error) {
    cannotDraw("This browser is too old to draw figures: the words below say what they show.");
    return;
  }
  for (let n = 0; n < places.length; n += 1) {
    await plots.draw(places[n], figures[n], still);
  }
  document.documentElement.dataset.ready = "yes";
})();
