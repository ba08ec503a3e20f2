// An example: az deployment group create --resource-group convert --parameters deployments/azure/main.bicepparam
using './main.bicep'

// az ad signed-in-user show --query id --output tsv
param principalId = readEnvironmentVariable('PRINCIPAL_ID')
param principalType = 'User'

// Other parameters keep their defaults. main.bicep explains each.
param sourceContainers = ['library']
param inputDays = 14
param budgetAmount = 50
param budgetEmails = ['you@example.org']
