/** Where a server's messages go when it is not known yet who reads them. */
import type { Question, Standing } from '../mcp/exchange.ts';
import type { NotificationMessage } from '../mcp/jsonrpc.ts';
import { answerPing } from '../mcp/own-request.ts';

/** What comes before somebody reads is lost. */
export class LateStanding implements Standing {
	#standing: Standing | undefined;

	become(standing: Standing): void {
		this.#standing = standing;
	}

	send(text: string, message: NotificationMessage): boolean {
		return this.#standing?.send(text, message) ?? false;
	}

	ask(question: Question): boolean {
		return this.#standing?.ask(question) ?? answerPing(question);
	}
}
