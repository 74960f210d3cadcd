// `drive.mjs CLIENT QUERY URL…`: as ../python/drive.py, for clients on Node.
const [name, query, ...urls] = process.argv.slice(2);
const { used } = await import(new URL(`./${name}.mjs`, import.meta.url));
for (const url of urls) {
  const [tools, search, hang] = await used(url, query);
  console.log(JSON.stringify({ tools, search, hang }));
}
