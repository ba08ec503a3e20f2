// A pool that runs share by name (--pool.id), with the managed identity of main.bicep: Batch gives one
// only to pools that are made through Azure Resource Manager. It has no node while nothing waits.

targetScope = 'resourceGroup'

@description('The Batch account: the output batchAccount of main.bicep.')
param batchAccount string

@description('The identity of its nodes: the output poolIdentityId of main.bicep.')
param identityId string

@description('The name of the pool, which runs give as --pool.id.')
@minLength(1)
@maxLength(64)
param name string = 'shared'

@description('The size of a node. Runs must give the same as --pool.vm-size.')
param vmSize string = 'Standard_D2ds_v5'

@description('Files that a node converts at once: one a core. Runs must give the same as --pool.slots-per-node.')
@minValue(1)
@maxValue(256)
param slotsPerNode int = 2

@description('Spot nodes at most: cheap, can be evicted.')
@minValue(0)
@maxValue(1000)
param spotNodes int = 5

@description('Dedicated nodes at most. They come first.')
@minValue(0)
@maxValue(1000)
param dedicatedNodes int = 0

@description('The subnet that nodes join, without public addresses, by its resource id. Empty: none.')
param subnetId string = ''

// As many nodes as files of the last ten minutes need, and none ten minutes after the last.
var formula = join(
  [
    'pending = max(0, $PendingTasks.GetSample(10 * TimeInterval_Minute));'
    'wanted = pending > 0 ? max(1, pending / ${slotsPerNode}) : 0;'
    'dedicated = min(${dedicatedNodes}, wanted);'
    '$TargetDedicatedNodes = dedicated;'
    '$TargetLowPriorityNodes = min(${spotNodes}, wanted - dedicated);'
    '$NodeDeallocationOption = taskcompletion;'
  ],
  '\n'
)

resource account 'Microsoft.Batch/batchAccounts@2025-06-01' existing = {
  name: batchAccount
}

resource pool 'Microsoft.Batch/batchAccounts/pools@2025-06-01' = {
  parent: account
  name: name
  identity: {
    type: 'UserAssigned'
    userAssignedIdentities: { '${identityId}': {} }
  }
  properties: {
    vmSize: vmSize
    taskSlotsPerNode: slotsPerNode
    taskSchedulingPolicy: { nodeFillType: 'Spread' }
    deploymentConfiguration: {
      virtualMachineConfiguration: {
        imageReference: { publisher: 'canonical', offer: 'ubuntu-24_04-lts', sku: 'server', version: 'latest' }
        nodeAgentSkuId: 'batch.node.ubuntu 24.04'
      }
    }
    networkConfiguration: empty(subnetId)
      ? null
      : { subnetId: subnetId, publicIPAddressConfiguration: { provision: 'NoPublicIPAddresses' } }
    scaleSettings: {
      autoScale: { formula: formula, evaluationInterval: 'PT5M' }
    }
    // That of the pipeline's own pools.
    startTask: {
      commandLine: '/bin/sh -c \'command -v ffmpeg || for pause in 5 15 30; do apt-get update && apt-get install -y --no-install-recommends ffmpeg && exit 0; sleep $pause; done; command -v ffmpeg\''
      waitForSuccess: true
      maxTaskRetryCount: 1
      userIdentity: {
        autoUser: { scope: 'Pool', elevationLevel: 'Admin' }
      }
    }
  }
}

@description('The pool, for --pool.id.')
output poolId string = pool.name
