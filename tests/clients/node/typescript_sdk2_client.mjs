// The TypeScript SDK 2.
import { Client, StreamableHTTPClientTransport } from "@modelcontextprotocol/client";

export async function used(url, query) {
  const client = new Client({ name: "agent", version: "1" });
  await client.connect(new StreamableHTTPClientTransport(new URL(url)));
  const { tools } = await client.listTools();
  const found = await client.callTool({ name: "search", arguments: { query } });
  const hung = await client.callTool({ name: "hang", arguments: {} });
  await client.close();
  return [tools.map((tool) => tool.name), found.content[0].text, hung.content[0].text];
}
