// How a temperature changes chances.

// p to p^(1/temperature) among the k most probable (of equals the lower id), summing to 1: what sampling draws from.
export function tempered(chances, temperature, k) {
  const order = chances.map((_, i) => i).sort((one, other) => chances[other] - chances[one] || one - other);
  const kept = new Set(k > 0 ? order.slice(0, k) : order);
  const logs = chances.map((chance) => Math.log(chance));
  const peak = Math.max(...logs);
  const weights = logs.map((log, i) => (kept.has(i) ? Math.exp(log === peak ? 0 : (log - peak) / temperature) : 0));
  const sum = weights.reduce((one, other) => one + other, 0);
  return { order, drawn: weights.map((weight) => weight / sum) };
}
