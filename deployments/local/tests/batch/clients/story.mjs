// The story of every client, by npm's @azure/batch: run tasks, print their output, delete all.
import { BatchServiceClient, BatchSharedKeyCredentials } from "@azure/batch";

const { AZURE_BATCH_ENDPOINT, AZURE_BATCH_ACCOUNT, AZURE_BATCH_ACCESS_KEY } = process.env;
const TASKS = ["t0", "t1", "t2"];
const SCOPE = "https://batch.core.windows.net//.default";
const POLL_MS = 50;
const TIMEOUT_MS = 30_000;

async function until(look) {
  const deadline = Date.now() + TIMEOUT_MS;
  while (!(await look())) {
    if (Date.now() > deadline) throw new Error(`timeout: ${look}`);
    await new Promise((resolve) => setTimeout(resolve, POLL_MS));
  }
}

async function text(stream) {
  const chunks = [];
  for await (const chunk of stream) chunks.push(chunk);
  return Buffer.concat(chunks).toString();
}

async function signIn() {
  const { EnvironmentCredential } = await import("@azure/identity");
  const credential = new EnvironmentCredential({ disableInstanceDiscovery: true });
  // The client asks for tokens for Resource Manager, which Batch refuses.
  return { getToken: () => credential.getToken(SCOPE) };
}

const credentials = AZURE_BATCH_ACCESS_KEY
  ? new BatchSharedKeyCredentials(AZURE_BATCH_ACCOUNT, AZURE_BATCH_ACCESS_KEY)
  : await signIn();
const client = new BatchServiceClient(credentials, AZURE_BATCH_ENDPOINT);

await client.pool.add({
  id: "story",
  vmSize: "Standard_D2ds_v5",
  virtualMachineConfiguration: {
    imageReference: { publisher: "canonical", offer: "ubuntu-24_04-lts", sku: "server" },
    nodeAgentSKUId: "batch.node.ubuntu 24.04",
  },
  targetDedicatedNodes: 1,
});
await client.job.add({ id: "story", poolInfo: { poolId: "story" } });
const commandLine = "/bin/sh -c 'echo hello from $AZ_BATCH_TASK_ID'";
await client.task.addCollection("story", TASKS.map((id) => ({ id, commandLine })));
await until(async () =>
  (await client.task.list("story")).every((task) => task.state === "completed"),
);
for (const id of TASKS) {
  const file = await client.file.getFromTask("story", id, "stdout.txt");
  process.stdout.write(await text(file.readableStreamBody));
}
for (const id of TASKS) await client.task.deleteMethod("story", id);
await client.job.deleteMethod("story");
await client.pool.deleteMethod("story");
await until(async () => !(await client.pool.exists("story")).body);
