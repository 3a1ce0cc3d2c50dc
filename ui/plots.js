() => {  // Gradio leaves a changed chart's old element to Plotly, which listens to the window for it
  const CHART = '.js-plotly-plot';
  const charts = node => !node.querySelectorAll ? []
    : [node, ...node.querySelectorAll(CHART)].filter(each => each.matches(CHART));

  new MutationObserver(changes => changes
    .flatMap(change => [...change.removedNodes].flatMap(charts))
    .filter(chart => !chart.isConnected)  // Plotly.purge would fail where it is still drawing
    .forEach(chart => window.removeEventListener('resize', chart._responsiveChartHandler))
  ).observe(document.body, {childList: true, subtree: true});
}
