() => {  // what Gradio and Plotly leave out for the keyboard and for screen readers
  const all = selector => [...document.querySelectorAll(selector)];

  const nameCharts = () => all('.js-plotly-plot').forEach(chart => {
    const said = chart.layout?.meta?.description;
    const [picture, ...layers] = chart.querySelectorAll('.main-svg');
    if (!said || !picture || picture.ariaLabel === said) return;
    picture.setAttribute('role', 'img');
    picture.ariaLabel = said;
    layers.forEach(layer => { layer.ariaHidden = true; });
    const box = chart.closest('.block');  // on a phone, one panel alone stands in the middle
    if (!chart.querySelector('.x2y2')) box.scrollLeft = (box.scrollWidth - box.clientWidth) / 2;
  });

  const reachWhatScrolls = () => all('.tabitem .block, .katex-display').forEach(box => {
    if (box.scrollWidth <= box.clientWidth || box.querySelector('button')) return;
    if (getComputedStyle(box).overflowX !== 'auto') return;
    box.tabIndex = 0;
    box.setAttribute('role', 'group');
    box.ariaLabel = 'Scrolls sideways';
  });

  // The combobox has the focus; its list is no stop of its own, not even for quick fingers.
  const skipLists = () => all('[role=listbox]').forEach(list => { list.tabIndex = -1; });

  const oneStopForTabs = () => all('[role=tablist]').forEach(list => {
    const tabs = [...list.querySelectorAll('[role=tab]')];
    const open = tabs.find(tab => tab.ariaSelected === 'true') ?? tabs[0];
    if (!tabs.includes(document.activeElement))
      tabs.forEach(tab => { tab.tabIndex = tab === open ? 0 : -1; });
  });

  document.addEventListener('keydown', event => {
    const tab = event.target.closest('[role=tab]');
    if (!tab) return;
    const tabs = [...tab.parentElement.querySelectorAll('[role=tab]')], here = tabs.indexOf(tab);
    const to = {ArrowLeft: here - 1, ArrowRight: here + 1, Home: 0, End: -1}[event.key];
    if (to === undefined) return;
    event.preventDefault();
    const next = tabs.at(to % tabs.length);
    tab.tabIndex = -1;
    next.tabIndex = 0;
    next.focus();
  });

  let waiting;
  const look = () => {
    waiting ??= setTimeout(() => {
      waiting = undefined;
      [nameCharts, reachWhatScrolls, oneStopForTabs].forEach(mend => mend());
    }, 100);
  };
  new MutationObserver(() => { skipLists(); look(); })
    .observe(document.body, {childList: true, subtree: true});
  ['click', 'focusout'].forEach(kind => document.addEventListener(kind, look));
  look();
}
