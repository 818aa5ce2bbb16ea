// SPDX-License-Identifier: Apache-2.0
// The same, streamed: words are printed as they arrive.
import OpenAI from 'openai';

const openai = new OpenAI({ apiKey: process.env.OPENAI_API_KEY ?? 'placeholder' });
const stream = await openai.chat.completions.create({
	model: 'gpt-4o',
	messages: [{ role: 'user', content: process.argv[2] ?? 'Count to five.' }],
	stream: true,
	stream_options: { include_usage: true },
});
let pieces = 0;
for await (const chunk of stream) {
	const text = chunk.choices[0]?.delta?.content;
	if (text) { process.stdout.write(text); pieces++; }
	if (chunk.usage) process.stdout.write(`\n(${pieces} pieces, ${chunk.usage.total_tokens} tokens)\n`);
}
