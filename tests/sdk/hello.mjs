// SPDX-License-Identifier: Apache-2.0
// What an application developer writes. It knows nothing of Egret: no base URL, no proxy, a placeholder key.
import OpenAI from 'openai';

const openai = new OpenAI({ apiKey: process.env.OPENAI_API_KEY ?? 'placeholder' });
const completion = await openai.chat.completions.create({
	model: 'gpt-4o',
	messages: [{ role: 'user', content: process.argv[2] ?? 'How are you?' }],
});
console.log(completion.choices[0].message.content);
