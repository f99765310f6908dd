/** Which variables and which files a secret of a server may be. */
import { quote } from './quote.ts';

/** The folder in the container, in memory, that files with secrets are in. */
export const SECRET_FILES = '/run/secrets';
export const SECRET_FILE_PATTERN = /^\/run\/secrets\/(?!\.{1,2}$)[A-Za-z0-9._-]{1,128}$/;

/** What the variables of the shell begin with that takes secrets in before it becomes the server. */
export const SHELL_PREFIX = 'slipway_';

/** What a shell keeps for itself: it does not let go of it, or it would find and read other things by it. */
const SHELL_VARIABLES: ReadonlySet<string> = new Set([
	...['BASHOPTS', 'BASH_VERSINFO', 'EUID', 'IFS', 'LINENO', 'OLDPWD', 'OPTIND', 'PATH', 'PPID', 'PWD', 'SHELLOPTS'],
	...['UID', '_'],
]);

/** Why a variable cannot be a secret, and what to do. Undefined when it can. */
export function explainVariable(variable: string): string | undefined {
	if (!SHELL_VARIABLES.has(variable) && !variable.startsWith(SHELL_PREFIX)) return undefined;
	return `${quote(variable)} is a variable of the shell that hands secrets over. Choose another, or give the server a file`;
}
