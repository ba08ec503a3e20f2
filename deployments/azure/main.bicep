// What a subscription needs for the pipeline: a Batch account, a storage account with its containers, the
// roles of whoever runs it and, where asked for, an identity for pools and a budget. It makes no pool: runs
// make their own. README.md beside this file tells how to deploy it, and how to take it all away.

targetScope = 'resourceGroup'

@description('The region of everything. It must offer Azure Batch, and the VM size that runs ask for.')
param location string = resourceGroup().location

@description('Begins the names of all resources. Storage allows lower-case letters and digits, 24 in all.')
@minLength(2)
@maxLength(11)
param prefix string = 'convert'

@description('The object id of the user, group or service principal that runs the pipeline. It gets the roles.')
@minLength(36)
@maxLength(36)
param principalId string

@description('What kind of principal that is.')
@allowed([
  'User'
  'Group'
  'ServicePrincipal'
])
param principalType string = 'User'

@description('Whether both accounts take their keys as well as Microsoft Entra ID. A key can do everything, and belongs to nobody.')
param keys bool = false

@description('The container for converted files: the parameter output.container of the pipeline.')
@minLength(3)
@maxLength(63)
param outputContainer string = 'output'

@description('The container for uploads, locks and logs while runs last: the parameter cleanup.container.')
@minLength(3)
@maxLength(63)
param inputContainer string = 'input'

@description('Containers of this storage account with sources of your own (az://container/prefix). They are made where they are missing; runs may read them.')
param sourceContainers string[] = []

@description('Days after which what runs left in the input container is deleted. A run lasts up to seven.')
@minValue(8)
@maxValue(365)
param inputDays int = 14

@description('Days for which a deleted or overwritten blob can be brought back. It is billed as long; 0 turns it off.')
@minValue(0)
@maxValue(365)
param undeleteDays int = 1

@description('How often the storage account copies its data: within a datacentre, over zones, or to another region.')
@allowed([
  'Standard_LRS'
  'Standard_ZRS'
  'Standard_GRS'
])
param redundancy string = 'Standard_LRS'

@description('Whether to make a managed identity for the nodes of pools, to be used instead of SAS tokens.')
param poolIdentity bool = false

@description('What this resource group may cost in a month, in the currency of the subscription. It only sends mail: nothing is stopped.')
@minValue(1)
param budgetAmount int = 50

@description('Who gets mail at 80 % of the budget and when more than all of it is foreseen. Empty: no budget.')
param budgetEmails string[] = []

@description('The first day of the budget, always the first of a month. In a later month, deploy again with the one it has.')
param budgetStart string = utcNow('yyyy-MM-01')

var suffix = uniqueString(resourceGroup().id)
var tags = { owner: 'batch-convert' }
var workContainers = [inputContainer, outputContainer]

// Built-in roles, by their ids in Microsoft's list of them.
var batchDataContributor = '6aaa78f1-f7de-44ca-8722-c64a23943cae'
var blobDataContributor = 'ba92f5b4-2d11-453d-a403-e96b0029c9fe'
var blobDataReader = '2a2b9908-6ea1-4ae2-8e65-a410df84e7d1'
var blobDelegator = 'db58b8e5-c6ad-4a2a-8342-4190687cbf4a'

resource batch 'Microsoft.Batch/batchAccounts@2025-06-01' = {
  name: '${prefix}${suffix}'
  location: location
  tags: tags
  properties: {
    poolAllocationMode: 'BatchService'
    publicNetworkAccess: 'Enabled'
    allowedAuthenticationModes: keys ? ['AAD', 'SharedKey'] : ['AAD']
  }
}

resource storage 'Microsoft.Storage/storageAccounts@2025-06-01' = {
  name: '${prefix}${suffix}'
  location: location
  tags: tags
  kind: 'StorageV2'
  sku: { name: redundancy }
  properties: {
    accessTier: 'Hot'
    allowBlobPublicAccess: false
    allowCrossTenantReplication: false
    allowSharedKeyAccess: keys
    defaultToOAuthAuthentication: true
    minimumTlsVersion: 'TLS1_2'
    publicNetworkAccess: 'Enabled'
    supportsHttpsTrafficOnly: true
  }
}

resource blobs 'Microsoft.Storage/storageAccounts/blobServices@2025-06-01' = {
  parent: storage
  name: 'default'
  properties: {
    deleteRetentionPolicy: undeleteDays == 0 ? { enabled: false } : { enabled: true, days: undeleteDays }
  }
}

resource work 'Microsoft.Storage/storageAccounts/blobServices/containers@2025-06-01' = [
  for name in workContainers: {
    parent: blobs
    name: name
    properties: { publicAccess: 'None' }
  }
]

resource sources 'Microsoft.Storage/storageAccounts/blobServices/containers@2025-06-01' = [
  for name in sourceContainers: {
    parent: blobs
    name: name
    properties: { publicAccess: 'None' }
  }
]

// Uploads and logs of runs that did not end well, once nobody can need them any more.
resource lifecycle 'Microsoft.Storage/storageAccounts/managementPolicies@2025-06-01' = {
  parent: storage
  name: 'default'
  properties: {
    policy: {
      rules: [
        {
          name: 'delete-inputs'
          type: 'Lifecycle'
          enabled: true
          definition: {
            filters: {
              blobTypes: ['blockBlob']
              prefixMatch: ['${inputContainer}/']
            }
            actions: {
              baseBlob: { delete: { daysAfterModificationGreaterThan: inputDays } }
            }
          }
        }
      ]
    }
  }
  dependsOn: [blobs]
}

resource nodes 'Microsoft.ManagedIdentity/userAssignedIdentities@2024-11-30' = if (poolIdentity) {
  name: '${prefix}-nodes'
  location: location
  tags: tags
}

// Who runs the pipeline: pools and jobs.
resource runsBatch 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  scope: batch
  name: guid(batch.id, principalId, batchDataContributor)
  properties: {
    principalId: principalId
    principalType: principalType
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', batchDataContributor)
  }
}

// … a key that signs SAS tokens, which give no more than their signer has …
resource runsSignatures 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  scope: storage
  name: guid(storage.id, principalId, blobDelegator)
  properties: {
    principalId: principalId
    principalType: principalType
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', blobDelegator)
  }
}

// … and blobs: all in the two containers of the pipeline, reading in those of sources.
resource runsWork 'Microsoft.Authorization/roleAssignments@2022-04-01' = [
  for (name, index) in workContainers: {
    scope: work[index]
    name: guid(storage.id, name, principalId, blobDataContributor)
    properties: {
      principalId: principalId
      principalType: principalType
      roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', blobDataContributor)
    }
  }
]

resource runsSources 'Microsoft.Authorization/roleAssignments@2022-04-01' = [
  for (name, index) in sourceContainers: {
    scope: sources[index]
    name: guid(storage.id, name, principalId, blobDataReader)
    properties: {
      principalId: principalId
      principalType: principalType
      roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', blobDataReader)
    }
  }
]

// The nodes, by the identity of their pool: no built-in role only writes, so they get what runs have.
resource nodesWork 'Microsoft.Authorization/roleAssignments@2022-04-01' = [
  for (name, index) in workContainers: if (poolIdentity) {
    scope: work[index]
    name: guid(storage.id, name, 'nodes', blobDataContributor)
    properties: {
      principalId: nodes!.properties.principalId
      principalType: 'ServicePrincipal'
      roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', blobDataContributor)
    }
  }
]

resource nodesSources 'Microsoft.Authorization/roleAssignments@2022-04-01' = [
  for (name, index) in sourceContainers: if (poolIdentity) {
    scope: sources[index]
    name: guid(storage.id, name, 'nodes', blobDataReader)
    properties: {
      principalId: nodes!.properties.principalId
      principalType: 'ServicePrincipal'
      roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', blobDataReader)
    }
  }
]

resource budget 'Microsoft.Consumption/budgets@2024-08-01' = if (!empty(budgetEmails)) {
  name: '${prefix}-monthly'
  properties: {
    amount: budgetAmount
    category: 'Cost'
    timeGrain: 'Monthly'
    timePeriod: { startDate: budgetStart }
    notifications: {
      most: {
        enabled: true
        operator: 'GreaterThanOrEqualTo'
        threshold: 80
        thresholdType: 'Actual'
        contactEmails: budgetEmails
      }
      foreseen: {
        enabled: true
        operator: 'GreaterThan'
        threshold: 100
        thresholdType: 'Forecasted'
        contactEmails: budgetEmails
      }
    }
  }
}

@description('The settings of the pipeline, a line each: what its file .env holds. None is secret.')
output settings string[] = [
  'AZURE_BATCH_ENDPOINT=https://${batch.properties.accountEndpoint}'
  'AZURE_BATCH_ACCOUNT=${batch.name}'
  'AZURE_STORAGE_ACCOUNT=${storage.name}'
  'AZURE_STORAGE_SERVICE_ENDPOINT=${storage.properties.primaryEndpoints.blob}'
]

@description('The Batch account, for az batch.')
output batchAccount string = batch.name

@description('The storage account, for az storage.')
output storageAccount string = storage.name

@description('The identity for pools by its resource id; empty where none was asked for.')
output poolIdentityId string = poolIdentity ? nodes.id : ''
