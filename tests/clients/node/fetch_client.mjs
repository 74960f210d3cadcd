export async function used(url, query) {
  const post = async (path, body) => {
    const headers = { "Content-Type": "application/json" };
    const answer = await fetch(`${url}/${path}`, { method: "POST", headers, body: JSON.stringify(body) });
    return answer.text();
  };
  return [[], await post("search", { query }), await post("hang", {})];
}
