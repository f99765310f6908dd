/** Which variables and which files a secret of a server may be. */
import { quote } from './quote.ts';

/** The folder in the container, in memory, that files with secrets are in. */
export const SECRET_FILES = '/run/secrets';
export const SECRET_FILE_PATTERN = /^\/run\/secrets\/(?!\.{1,2}$)[A-Za-z0-9._-]{1,128}$/;

/**
 * The variables of the shell that hands secrets over: its own, and what a shell does not let go of, changes by itself, or
 * would find and read other things by. A secret in one of them would not arrive.
 */
const OF_THE_SHELL =
	/^(?:slipway_.*|BASH.*|DIRSTACK|EPOCHREALTIME|EPOCHSECONDS|EUID|FUNCNAME|GROUPS|HISTCMD|IFS|LINENO|OLDPWD|OPTIND|PATH|PIPESTATUS|PPID|PWD|RANDOM|SECONDS|SHELLOPTS|SHLVL|SRANDOM|UID|_)$/;

/** Why a variable cannot be a secret, and what to do. Undefined when it can. */
export function explainVariable(variable: string): string | undefined {
	if (!OF_THE_SHELL.test(variable)) return undefined;
	return `${quote(variable)} is a variable of the shell that hands secrets over. Choose another, or give the server a file`;
}
