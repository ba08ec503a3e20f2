// The resources that the pipeline needs: a Batch account, a storage account with containers, the roles of
// the principal that runs it and, optionally, an identity for pools and a budget. It creates no pool: runs
// create their own. README.md in this folder explains how to deploy it, and how to delete everything again.

targetScope = 'resourceGroup'

@description('Region of all resources. It must offer Azure Batch and the VM size that runs use.')
param location string = resourceGroup().location

@description('Prefix of all resource names. Storage allows 24 lower-case letters and digits in total.')
@minLength(2)
@maxLength(11)
param prefix string = 'convert'

@description('Object id of the user, group or service principal that runs the pipeline. It gets the roles.')
@minLength(36)
@maxLength(36)
param principalId string

@description('Type of the principal in principalId.')
@allowed([
  'User'
  'Group'
  'ServicePrincipal'
])
param principalType string = 'User'

@description('Allow account keys in addition to Microsoft Entra ID. Anyone with a key has full access.')
param keys bool = false

@description('Container for converted files and locks: the parameter output.container of the pipeline.')
@minLength(3)
@maxLength(63)
param outputContainer string = 'output'

@description('Container for uploads of runs: the parameter cleanup.container of the pipeline.')
@minLength(3)
@maxLength(54)
param inputContainer string = 'input'

@description('Containers of this storage account with your own sources (az://container/prefix). Missing ones are created. Runs may read them.')
param sourceContainers string[] = []

@description('Days after which leftovers of runs are deleted: uploads and logs. A run lasts up to seven days.')
@minValue(8)
@maxValue(365)
param inputDays int = 14

@description('Days for which a deleted or overwritten blob can be restored. It is billed until then. 0: off.')
@minValue(0)
@maxValue(365)
param undeleteDays int = 1

@description('Where the storage account copies its data: within a datacentre, across zones, or to another region.')
@allowed([
  'Standard_LRS'
  'Standard_ZRS'
  'Standard_GRS'
])
param redundancy string = 'Standard_LRS'

@description('Create a managed identity for the nodes of pools, to read with it instead of SAS tokens.')
param poolIdentity bool = false

@description('Monthly budget of this resource group, in the currency of the subscription. It only sends mail and stops nothing.')
@minValue(1)
param budgetAmount int = 50

@description('Mail addresses to notify at 80 % of the budget and when the forecast exceeds it. Empty: no budget.')
param budgetEmails string[] = []

@description('Start of the budget, the first day of a month. Keep the original date when you deploy again in a later month.')
param budgetStart string = utcNow('yyyy-MM-01')

var suffix = uniqueString(resourceGroup().id)
var tags = { owner: 'batch-convert' }
var logContainer = '${inputContainer}-logs'
var workContainers = [inputContainer, outputContainer, logContainer]
var memoryContainer = '${inputContainer}-failures'

// Ids of built-in roles: https://learn.microsoft.com/azure/role-based-access-control/built-in-roles
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

// Runs remember here which sources cannot be converted.
resource memory 'Microsoft.Storage/storageAccounts/blobServices/containers@2025-06-01' = {
  parent: blobs
  name: memoryContainer
  properties: { publicAccess: 'None' }
}

resource sources 'Microsoft.Storage/storageAccounts/blobServices/containers@2025-06-01' = [
  for name in sourceContainers: {
    parent: blobs
    name: name
    properties: { publicAccess: 'None' }
  }
]

// Deletes uploads and logs of interrupted runs when no run can use them any more.
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
              prefixMatch: ['${inputContainer}/', '${logContainer}/']
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

// Runs: manage pools and jobs.
resource runsBatch 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  scope: batch
  name: guid(batch.id, principalId, batchDataContributor)
  properties: {
    principalId: principalId
    principalType: principalType
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', batchDataContributor)
  }
}

// Runs: sign SAS tokens. A token gives no more rights than its signer has.
resource runsSignatures 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  scope: storage
  name: guid(storage.id, principalId, blobDelegator)
  properties: {
    principalId: principalId
    principalType: principalType
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', blobDelegator)
  }
}

// Runs: all blobs in the four containers of the pipeline, read only in the containers of sources.
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

resource runsMemory 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  scope: memory
  name: guid(storage.id, memoryContainer, principalId, blobDataContributor)
  properties: {
    principalId: principalId
    principalType: principalType
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', blobDataContributor)
  }
}

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

// Nodes, by the identity of their pool: read only. They write with SAS tokens, each for the output of one file:
// a node that a hostile file has taken over has all rights of the identity.
resource nodesInputs 'Microsoft.Authorization/roleAssignments@2022-04-01' = if (poolIdentity) {
  scope: work[0]
  name: guid(storage.id, inputContainer, 'nodes', blobDataReader)
  properties: {
    principalId: nodes!.properties.principalId
    principalType: 'ServicePrincipal'
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', blobDataReader)
  }
}

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

@description('Settings of the pipeline for the file .env, one per line. None of them is secret.')
output settings string[] = [
  'AZURE_BATCH_ENDPOINT=https://${batch.properties.accountEndpoint}'
  'AZURE_BATCH_ACCOUNT=${batch.name}'
  'AZURE_STORAGE_ACCOUNT=${storage.name}'
  'AZURE_STORAGE_SERVICE_ENDPOINT=${storage.properties.primaryEndpoints.blob}'
]

@description('Name of the Batch account, for az batch.')
output batchAccount string = batch.name

@description('Name of the storage account, for az storage.')
output storageAccount string = storage.name

@description('Resource id of the identity for pools. Empty without poolIdentity.')
output poolIdentityId string = poolIdentity ? nodes.id : ''
