/** What looks like a secret. To take one too many for one costs a line in the catalog; to miss one shows it to everybody. */

/** Words that make a name that of a secret wherever they stand. */
const SECRET_WORDS: ReadonlySet<string> = new Set(
	'token secret password passwd passphrase credential credentials apikey apitoken cookie bearer'.split(' '),
);
/** Words that do so at the end of a name. */
const SECRET_ENDS: ReadonlySet<string> = new Set('key pass pat pwd auth authorization dsn jwt'.split(' '));
/** What is said of a secret, and is none. */
const QUALIFIERS: ReadonlySet<string> = new Set(
	'id file path dir folder url uri host name type limit ttl header enabled count max min length timeout mode method endpoint prefix scope scopes region algorithm expiry budget'.split(
		' ',
	),
);

/** How tokens of services begin. */
const KNOWN_TOKEN =
	/(?:^|[^A-Za-z0-9])(?:gh[pousr]_[A-Za-z0-9]{16}|github_pat_|glpat-|sk-[A-Za-z0-9_-]{12}|[sr]k_(?:live|test)_|xox[abceprs]-|xapp-|AKIA[0-9A-Z]{12}|ASIA[0-9A-Z]{12}|AIza[A-Za-z0-9_-]{20}|ya29\.|eyJ[A-Za-z0-9_-]{8,1024}\.eyJ|ATATT|npm_[A-Za-z0-9]{20}|pypi-[A-Za-z0-9_-]{20}|hf_[A-Za-z0-9]{16}|tvly-|lin_api_|ntn_|figd_|dop_v1_|shpat_|SG\.[A-Za-z0-9_-]{10}|pplx-|fc-[0-9a-f]{20}|-----BEGIN [A-Z ]*PRIVATE KEY)/;
/** A name and a password in a URL. */
const URL_WITH_PASSWORD = /\b[a-z][a-z0-9+.-]{0,31}:\/\/[^/\s:@]{0,256}:[^/\s@]{1,1024}@/i;
const AUTHORIZATION = /\b(?:bearer|basic)\s+[A-Za-z0-9._~+/=-]{8,}/i;
const LONG_RUN = /[A-Za-z0-9+/=]{24,}/g;

/** Whether a variable or an option of that name has a secret, going by its name. */
export function isSecretName(name: string): boolean {
	const words = name
		.replace(/([a-z0-9])([A-Z])/g, '$1_$2')
		.toLowerCase()
		.split(/[^a-z0-9]+/)
		.filter((word) => word !== '');
	const last = words.at(-1) ?? '';
	if (QUALIFIERS.has(last)) return false;
	return SECRET_ENDS.has(last) || words.some((word) => SECRET_WORDS.has(word));
}

/** Whether a value is a secret whatever it is called. */
export function isSecretValue(value: string): boolean {
	if (KNOWN_TOKEN.test(value) || URL_WITH_PASSWORD.test(value) || AUTHORIZATION.test(value)) return true;
	return (value.match(LONG_RUN) ?? []).some(isRandom);
}

/** Whether a value is nothing that anybody keeps secret, whatever it is called. */
export function isPlainValue(value: string): boolean {
	return /^(?:true|false|yes|no|on|off|none|null|\d{1,5})$/i.test(value.trim());
}

/** Whether the value stands where a person is to write one. */
export function isPlaceholder(value: string): boolean {
	const text = value.trim();
	return (
		text === '' ||
		/^<.*>$|^\[.*\]$|^\{\{.*\}\}$|^\.{3}$|^[x*]{3,}$/i.test(text) ||
		/\b(?:your|replace|insert|change|enter|paste)[-_ ]?(?:me|this|here|own|with|in|the|a|api|access|token|key|secret|password|personal|bot|[a-z]+[-_ ](?:api|token|key|secret|password|id))\b/i.test(
			text.replaceAll('_', ' '),
		) ||
		/(?:^|[-_ <])(?:api|access|secret|token|key|password)[-_ ](?:key[-_ ])?here(?:$|[>])/i.test(text)
	);
}

/** Letters and digits without the order of words, paths or numbers. */
function isRandom(run: string): boolean {
	const digits = run.replace(/\D/g, '').length;
	const letters = run.replace(/[^A-Za-z]/g, '').length;
	return digits >= 3 && letters >= 6 && run.split('/').length <= 2;
}
