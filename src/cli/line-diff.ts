/** How two texts differ, line by line, as people read it. */

const CONTEXT_LINES = 2;

/** Lines of which none is far from a change, those that go with `-` and those that come with `+` before them. */
export function diffLines(before: string, after: string): string[] {
	const [was, is] = [before.split('\n'), after.split('\n')];
	let head = 0;
	while (head < Math.min(was.length, is.length) && was[head] === is[head]) head++;
	let tail = 0;
	while (tail < Math.min(was.length, is.length) - head && was[was.length - 1 - tail] === is[is.length - 1 - tail])
		tail++;
	if (head === was.length && head === is.length) return [];
	return [
		...was.slice(Math.max(0, head - CONTEXT_LINES), head).map((line) => `  ${line}`),
		...compare(was.slice(head, was.length - tail), is.slice(head, is.length - tail)),
		...was
			.slice(was.length - tail)
			.slice(0, CONTEXT_LINES)
			.map((line) => `  ${line}`),
	];
}

/** Lines that both have, in their order, stay; the rest goes and comes. */
function compare(was: readonly string[], is: readonly string[]): string[] {
	const common = longestCommon(was, is);
	const lines: string[] = [];
	let [old, next] = [0, 0];
	for (const [i, j] of [...common, [was.length, is.length] as const]) {
		lines.push(...was.slice(old, i).map((line) => `- ${line}`), ...is.slice(next, j).map((line) => `+ ${line}`));
		if (i < was.length) lines.push(`  ${was[i]}`);
		[old, next] = [i + 1, j + 1];
	}
	return lines;
}

/** The places in both of the lines of their longest common subsequence; of long texts none, which is right as well. */
function longestCommon(was: readonly string[], is: readonly string[]): (readonly [number, number])[] {
	const width = is.length + 1;
	if (was.length * is.length > CELLS_MAX) return [];
	const lengths = new Uint32Array((was.length + 1) * width);
	const at = (i: number, j: number): number => lengths[i * width + j] ?? 0;
	for (let i = was.length - 1; i >= 0; i--)
		for (let j = is.length - 1; j >= 0; j--)
			lengths[i * width + j] = was[i] === is[j] ? at(i + 1, j + 1) + 1 : Math.max(at(i + 1, j), at(i, j + 1));
	const pairs: (readonly [number, number])[] = [];
	for (let i = 0, j = 0; i < was.length && j < is.length; ) {
		if (was[i] === is[j]) pairs.push([i++, j++]);
		else if (at(i + 1, j) >= at(i, j + 1)) i++;
		else j++;
	}
	return pairs;
}

const CELLS_MAX = 4_000_000;
