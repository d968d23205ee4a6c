"""Static pictures as SVG: values of a figure in, text out. Pure; neither pandas nor plotly.

`palette` holds the colours by meaning, `shapes` writes SVG elements, `scales` places values on an
axis. `lines`, `bars`, `marks`, `chain` and `topology` each draw one kind of figure, `titles` states
what it shows, and `interactive` gives it to plotly.js.
"""
