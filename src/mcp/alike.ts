/** Names of tools that a person or a model may take for one another: the same on two servers, or the same to the eye. */

/** A tool of a server. */
export interface ToolName {
	readonly server: string;
	readonly tool: string;
}

/** What looks like a letter, or is not kept apart from it. After the confusables of Unicode's TR 39. */
const LOOKALIKES: Readonly<Record<string, string>> = {
	a: 'аαɑ',
	b: 'вʙ',
	c: 'сϲ',
	d: 'ԁ',
	e: 'еҽ',
	g: 'ɡց',
	h: 'һн',
	j: 'јϳ',
	k: 'кκ',
	l: 'i1|іıιӏ',
	m: 'м',
	n: 'ոη',
	o: '0оοօσ',
	p: 'рρ',
	q: 'ԛ',
	r: 'г',
	s: 'ѕ',
	t: 'тτ',
	u: 'υս',
	v: 'νѵ',
	w: 'ԝω',
	x: 'хχ',
	y: 'уγ',
	_: '-. ',
};
const LETTER_OF: ReadonlyMap<string, string> = new Map(
	Object.entries(LOOKALIKES).flatMap(([letter, others]) => Array.from(others, (other) => [other, letter] as const)),
);

/** The same for names that look the same. */
export function looksOf(name: string): string {
	const plain = name
		.normalize('NFKD')
		.replaceAll(/[\p{M}\p{Default_Ignorable_Code_Point}]/gu, '')
		.toLowerCase();
	return Array.from(plain, (letter) => LETTER_OF.get(letter) ?? letter).join('');
}

/** Of each tool that others are alike, those others. The keys are the given objects. */
export function alikeAmong<T extends ToolName>(tools: Iterable<T>): Map<T, readonly T[]> {
	const alike = new Map<T, readonly T[]>();
	for (const same of Map.groupBy(tools, ({ tool }) => looksOf(tool)).values())
		if (same.length > 1)
			for (const tool of same)
				alike.set(
					tool,
					same.filter((other) => other !== tool),
				);
	return alike;
}
