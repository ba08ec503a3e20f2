// A pool that runs share by name (--pool.id), with the managed identity of main.bicep. Only pools that are
// created through Azure Resource Manager can have an identity. Without waiting tasks, it has no nodes.

targetScope = 'resourceGroup'

@description('Name of the Batch account: the output batchAccount of main.bicep.')
param batchAccount string

@description('Resource id of the identity of its nodes: the output poolIdentityId of main.bicep.')
param identityId string

@description('Name of the pool, for --pool.id.')
@minLength(1)
@maxLength(64)
param name string = 'shared'

@description('VM size of each node. Runs must use the same --pool.vm-size.')
param vmSize string = 'Standard_D2ds_v5'

@description('Files each node converts in parallel, one per vCPU. For short files, up to four per vCPU. Runs use this number.')
@minValue(1)
@maxValue(256)
param slotsPerNode int = 2

@description('Maximum number of Spot nodes. They are cheap, but Azure can evict them.')
@minValue(0)
@maxValue(1000)
param spotNodes int = 5

@description('Maximum number of dedicated nodes. The pool uses them before Spot nodes.')
@minValue(0)
@maxValue(1000)
param dedicatedNodes int = 0

@description('Resource id of a subnet for nodes without public addresses. Empty: no subnet.')
param subnetId string = ''

// Enough nodes for the files of the last ten minutes, and none ten minutes after the last file.
var formula = join(
  [
    'isSampled = $PendingTasks.GetSamplePercent(10 * TimeInterval_Minute) > 0;'
    'pending = isSampled ? max($PendingTasks.GetSample(10 * TimeInterval_Minute)) : 0;'
    'needed = (pending + ${slotsPerNode} - 1) / ${slotsPerNode};'
    'dedicated = min(${dedicatedNodes}, needed);'
    '$TargetLowPriorityNodes = min(${spotNodes}, needed - dedicated);'
    '$TargetDedicatedNodes = dedicated;'
    '$NodeDeallocationOption = taskcompletion;'
  ],
  '\n'
)

// The start task of pools that runs create, as one line.
var installFfmpeg = replace(trim(loadTextContent('../../tasks/install_ffmpeg.sh')), '\n', ' ')

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
    startTask: {
      commandLine: '/bin/sh -c \'${installFfmpeg}\''
      waitForSuccess: true
      maxTaskRetryCount: 0
      userIdentity: {
        autoUser: { scope: 'Pool', elevationLevel: 'Admin' }
      }
    }
  }
}

@description('Name of the pool, for --pool.id.')
output poolId string = pool.name
