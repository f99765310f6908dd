import type { Exchange } from './exchange.ts';
import type { ResponseMessage } from './jsonrpc.ts';

/** An exchange, with an eye on its answer. */
export function watched(exchange: Exchange, onAnswer: (text: string, message: ResponseMessage) => void): Exchange {
	return {
		takes: (message) => exchange.takes(message),
		tell: (text, message) => exchange.tell(text, message),
		ask: (question) => exchange.ask(question),
		answer: (text, message) => {
			onAnswer(text, message);
			exchange.answer(text, message);
		},
		fail: (id, error) => exchange.fail(id, error),
		drop: () => exchange.drop(),
	};
}
