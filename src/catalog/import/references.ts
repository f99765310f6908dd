/** What a text leaves to whoever runs it: variables, questions, folders of a person's machine. */

/** A text whose references were looked at. */
export interface Expanded {
	/** With what is known in its place. */
	readonly text: string;
	/** Variables and questions that nothing is known of, by name. */
	readonly missing: readonly string[];
	/** Folders of the machine of whoever wrote it, as they stand there. */
	readonly folders: readonly string[];
}

export type Environment = Readonly<Record<string, string | undefined>>;

// Gemini and shells take a whole word with a dollar sign; `%` is a percent sign but around capital letters.
const REFERENCE = /\$\{([^{}]*)\}|%([A-Z][A-Z0-9_]{2,})%|^\$([A-Za-z_][A-Za-z0-9_]*)(?=$|\/)|\$\((?:pwd|PWD)\)/g;

const FOLDERS: ReadonlySet<string> = new Set(
	'HOME PWD USERPROFILE HOMEPATH HOMEDRIVE APPDATA LOCALAPPDATA PROGRAMFILES PROGRAMDATA TMPDIR TEMP TMP userHome workspaceFolder workspaceRoot workspaceFolderBasename cwd pathSeparator extensionPath CLAUDE_PROJECT_DIR CLAUDE_PLUGIN_ROOT __dirname /'.split(
		' ',
	),
);

/** Variables of Slipway itself. What a configuration may read is what others have said to it. */
const OWN = /^SLIPWAY_/i;

/** Puts what the environment says in the place of references. Nothing is read but the environment given. */
export function expand(text: string, environment: Environment): Expanded {
	const missing: string[] = [];
	const folders: string[] = [];
	const expanded = text.replace(REFERENCE, (whole: string, braced?: string, percent?: string, dollar?: string) => {
		const [name = '', fallback] = splitDefault((braced ?? percent ?? dollar ?? 'PWD').replace(/^env:/, ''));
		if (FOLDERS.has(name.replace(/:.*/, ''))) folders.push(whole);
		else {
			const known = OWN.test(name) || !Object.hasOwn(environment, name) ? undefined : environment[name];
			const value = known === undefined || known === '' ? (fallback ?? known) : known;
			if (value !== undefined) return value;
			missing.push(name.replace(/^input:/, ''));
		}
		return whole;
	});
	if (/^~(?:$|[\\/])/.test(expanded)) folders.push('~');
	return { text: expanded, missing, folders };
}

/** `NAME:-default` and `NAME-default`, as shells have them. */
function splitDefault(inner: string): readonly [name: string, fallback?: string] {
	const found = /^([A-Za-z_][A-Za-z0-9_]*):?-(.*)$/s.exec(inner);
	return found === null ? [inner] : [found[1] ?? '', found[2] ?? ''];
}
