/** What a look at something found. */
export interface Finding {
	/** What was looked at, in a word or two. */
	readonly check: string;
	/** `warning`: it works, and could be better. `broken`: something does not work. */
	readonly state: 'ok' | 'warning' | 'broken';
	readonly what: string;
	/** What it means, and what to do; there unless it is well. */
	readonly why?: string;
	readonly fix?: string;
}

export function ok(check: string, what: string): Finding {
	return { check, state: 'ok', what };
}

export function warning(check: string, what: string, advice: { readonly why: string; readonly fix: string }): Finding {
	return { check, state: 'warning', what, ...advice };
}

export function broken(check: string, what: string, advice: { readonly why: string; readonly fix: string }): Finding {
	return { check, state: 'broken', what, ...advice };
}
